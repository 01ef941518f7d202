"""The commands that stay until a signal comes.

    run.py       the standalone controller: files in, elections out
    operator.py  the same for the MasterJobs of a Kubernetes cluster
    ground.py    what both stand on: settings, jobs, the control API
    api.py       the options of the control API
    logs.py      the log as lines of text or of JSON
    signals.py   SIGTERM and SIGINT, waited for

What must not be here: what follows from what is wanted (`masterjob.controller`), or how a cluster is asked.
"""
