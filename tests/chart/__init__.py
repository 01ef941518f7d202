"""The Helm chart without a cluster: its values, what it makes of them, and releases on a real API server.

`helm` runs Helm, and `kubelet` runs what a Deployment says, as processes. Nothing here needs Docker.
"""
