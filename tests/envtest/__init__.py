"""A real Kubernetes API server with its etcd, as processes on the loopback, by the convention of envtest.

There is no kubelet, no scheduler and no controller: what is written stays as it was written. That is all that
a resource's definition, its status, watches, accounts and their rights need to be tested as they are.

`programs` knows which programs these are and where they lie, `install` brings them there, `daemons` runs each of
them, `control_plane` both, and `fixtures` gives that to the tests.
"""
