"""HTTP hooks as a job.

    spec.py      the hooks as the config file names them, with their headers (headers.py)
    job.py       the job, behind the election's port: POST at the start, POST at the stop
    run.py       the course of one run
    hooks.py      one call of a hook, with its further attempts
    request.py  one POST that can be broken off from another thread

What must not be here: what the service behind the hooks does. It keeps the term's number, and refuses older ones.
"""
