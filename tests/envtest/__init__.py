"""A real Kubernetes API server with its etcd, as processes on the loopback, by the convention of envtest.

There is no kubelet, no scheduler and no controller, so objects stay as they were written. That is enough to test a
CRD, statuses, watches, service accounts and their rights.

    programs.py       the programs, their versions and paths
    install.py        installs them
    daemons.py        runs etcd and kube-apiserver
    control_plane.py  both together, and kubectl
    fixtures.py       the pytest fixture
    run.py            `make run-kube`
"""
