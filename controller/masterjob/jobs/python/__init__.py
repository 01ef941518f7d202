"""A Python callable as a job.

spec.py       the object as the config file or an installed package names it
job.py        `MasterJob`, which users write, and its spec
run.py        one run: one ``start``, then ``stop``
callables.py  the calls of the user's functions, on a thread of the pool or on an event loop
loops.py      our own event loop, and the detection of a loop that is closed
signature.py  what a function accepts, found out without a call
"""
