"""A Python callable as a job.

spec.py       the object as the config file or an installed package names it
job.py        the job: `MasterJob` as users write it, behind the election's port
run.py        the course of one run: one ``start``, then ``stop``
callables.py     where the user's functions are called: on a thread of the pool, or an event loop (loops.py)
signature.py  what can be told about a function without calling it
"""
