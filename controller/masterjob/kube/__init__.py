"""What the cluster sees: MasterJobs of the Kubernetes API, followed; and what is written back to them.

In this room, and nowhere else, are kopf and the official client.

    api/        asks the API server, one request at a time
    follow/     the MasterJobs in scope as one picture, kept right by LIST and watch
    cluster.py  which cluster, and which namespaces of it
    status/     what their statuses and Events say, and when that is written

The watch feeds the controller and decides nothing; where the API server is silent the election goes on.

What must not be here: who is master, SQL, jobs, settings, HTTP that people see.

Source: design sections 6.2 and 6.3.
"""
