"""The cluster: its MasterJobs, followed by LIST and watch, and the statuses and Events written to them.

Only this package uses kopf and the official Kubernetes client.

    api/        requests to the API server
    informer/   the MasterJobs in scope, cached and kept up to date
    status/     what their statuses and Events say, and when they are written
    cluster.py  which cluster, and which of its namespaces

The informer feeds the controller and decides nothing. The election goes on while the API server is down.

What must not be here: who is master, SQL, jobs, settings, HTTP served to people.
"""
