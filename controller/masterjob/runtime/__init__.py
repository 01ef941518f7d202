"""The process: its instances, the handles to their locks, and its shutdown.

    identity.py             the identity of an instance, and the default actor
    shutdown.py             the order of the shutdown, its hooks, and the bound of each wait
    host_process.py         whether an instance can work in this process: real threads, no watching for a reloader
    process_exit.py         the exit of the interpreter, and of a child of multiprocessing or billiard
    sigterm.py              SIGTERM in an application, and in its forked children
    job_status_recorder.py  writes the status of the jobs to the database
    instance.py             the locks that this process competes for on one database
    handle.py               `Master`: one of those locks, as the application sees it
    runtime.py              all instances, from the first lock to the shutdown

What must not be here: decisions of the election, what a job is, where settings come from, the control API.
"""
