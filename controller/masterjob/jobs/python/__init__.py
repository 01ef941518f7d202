"""A Python callable as a job.

spec.py          the object as the config file or an installed package names it
job.py           `MasterJob`, which users write, and its spec
run.py           one run of a job with ``start``: one call of it, then ``stop``
run_function.py  one run of a job with ``run``: its calls, with the pauses before a restart
callables.py     the calls of the user's functions, on a thread of the pool or on an event loop
loops.py         our own event loop, and the detection of a loop that is closed
signature.py     what a function accepts, found out without a call
"""
