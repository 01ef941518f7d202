"""The status of each MasterJob: computed by pure functions, and written by one thread.

    inputs.py          everything that a status is computed from
    conditions.py      the types, reasons and rendering of conditions
    evaluation.py      which conditions are true, and why
    build.py           the whole status
    own_runs.py        what this instance does as master
    heartbeats.py      masters whose heartbeat is overdue
    outages.py         what to report while the database does not answer
    reconciler.py      the status of one MasterJob: whether this instance writes it, and the patch
    writer.py          the status of all MasterJobs: when to reconcile which
    event_recorder.py  Kubernetes Events, each created once

What must not be here: decisions of the election. A status that cannot be written affects only what people see.
"""
