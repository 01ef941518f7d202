"""Composition roots: the library, the operator, and the control API put the other packages together.

    library.py       `masterjob.start_master` and its companions
    operator.py      the controller with the MasterJobs of a cluster
    control_api.py   the control API in the process that it controls
    kube_auth.py     who may call it, by what the Kubernetes API server says

What must not be here: decisions.
"""
