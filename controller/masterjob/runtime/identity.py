"""The identity of an instance, and the default actor."""

import getpass
import os
import socket
from collections.abc import Mapping
from uuid import uuid4

from masterjob.election.values import Identity

_MAX_HOST_LENGTH = 200
"""Characters of the name of a host or pod in the id of an instance, which may have 255."""


def new_identity(environ: Mapping[str, str]) -> Identity:
    """Return a new identity for an instance of this process.

    In a pod, the manifest passes the names of the pod and its node in the environment (the downward API).
    """
    pod = environ.get("POD_NAME", "")
    return Identity(
        instance=f"{(pod or socket.gethostname())[:_MAX_HOST_LENGTH]}-{os.getpid()}-{uuid4().hex[:8]}",
        address=environ.get("POD_IP", "") or socket.gethostname(),
        pod=pod,
        pod_uid=environ.get("POD_UID", ""),
        node=environ.get("NODE_NAME", ""),
        container=environ.get("CONTAINER_NAME", ""),
    )


def default_actor() -> str:
    """Return the actor of changes that name none: user@host."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return socket.gethostname()
