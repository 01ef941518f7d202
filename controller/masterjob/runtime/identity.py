"""Who an instance is, and who does things from this process."""

import getpass
import os
import socket
from collections.abc import Mapping
from uuid import uuid4

from masterjob.election.values import Identity

_MAX_HOST_LENGTH = 200
"""Characters of a host's or pod's name in an instance's id, which has 255 at most."""


def current_identity(environ: Mapping[str, str]) -> Identity:
    """Return who this instance is; in a pod the environment says where, as its manifest has it set.

    Source: design section 6, the downward API.
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
    """Return who does things from here where nobody says so: user@host."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return socket.gethostname()
