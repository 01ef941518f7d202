"""What is wanted: the resource `MasterJob`, as a manifest or an object of the API server declares it.

    masterjob.py  one of them, as a value; and who is told of it
    manifest.py  how one is read: every error names the field, and the line where there is one
    files.py     manifests in files and folders, followed while they change

What must not be here: what is done about it (`masterjob.controller`), Kubernetes.

Source: design section 6.1.
"""
