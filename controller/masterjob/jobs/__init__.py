"""What the master of a lock runs.

    registry.py  the jobs by name, from the config file and from installed packages
    policy.py    what a job's definition says about the life of its runs
    lifecycle.py the life of a run: a pure state machine
    run.py       one run of a job, and `JobRunner`, the job of one lock (the port `masterjob.election.ports.Job`)
    exec/        a command, and the shim that ends it in time
    http/        two hooks of a service
    python/      a Python callable

The three kinds have the same structure: ``spec.py`` is the job as it is named, ``run.py`` is one run of it.

What must not be here: who is master and why, SQL, where settings come from. A job is started and stopped, and it
reports the results; it decides nothing else, and never blocks a thread of the election.
"""
