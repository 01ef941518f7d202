"""The resource `MasterJob`: what a manifest or an object of the Kubernetes API requests.

    masterjob.py  a MasterJob as a value, and the protocol of its consumer
    manifest.py   the parser of manifests
    files.py      manifests in files and folders, and the watcher that follows their changes
    problems.py   why a resource cannot be applied, each problem logged once

What must not be here: the effects of a resource (`masterjob.controller`), Kubernetes.
"""
