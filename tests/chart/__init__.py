"""The Helm chart without a cluster: its values, the objects it creates, and releases on a real API server.

`helm` runs Helm, and `kubelet` runs the pods of a Deployment as processes. Nothing here needs Docker.
"""
