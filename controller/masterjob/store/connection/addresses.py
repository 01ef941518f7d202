"""The addresses of the hosts that a URL names."""

import contextlib
import ipaddress
import socket
from typing import NamedTuple

from masterjob.store.connection.url import Endpoint


class Address(NamedTuple):
    """Where to connect to: the name of the host, and its IP address unless the driver finds it out itself."""

    host: str
    port: int | None
    ip: str = ""

    def __str__(self) -> str:
        name = str(Endpoint(self.host, self.port))
        return name if self.ip in ("", self.host) else f"{name} ({self.ip})"


def is_name(host: str) -> bool:
    """Return whether a host must be looked up: it is no IP address, no socket and not the driver's default."""
    if not host or host.startswith("/"):
        return False
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return False
    return True


def look_up(address: Address) -> list[Address]:
    """Return the address once for each IP address of its host. This may take long.

    Raises:
        OSError: the name is not known, or no name server answers.
    """
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [address._replace(ip=ip) for ip in dict.fromkeys(str(each[4][0]) for each in found)]
