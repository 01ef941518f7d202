"""Composition roots: they put the other packages together.

    library.py      `masterjob.start_master`, `start_api` and `api_application`
    admin.py        `masterjob.enable`, `disable`, `step_down`, `status` and `history`
    operator.py     the controller on the MasterJobs of a cluster, and `masterjob.start_operator`
    control_api.py  the control API on the instances of this process
    kube_auth.py    who may call it in a cluster: the cluster's own users and rules

What must not be here: decisions.
"""
