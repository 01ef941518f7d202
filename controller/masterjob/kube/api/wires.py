"""Connections that can be cut from another thread, so that whoever waits on one need not be waited for."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class Wires:
    """The sockets of one client that are in use, by the thread that uses them."""

    def __init__(self) -> None:
        self._in_use: dict[int, socket.socket | None] = {}

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Have what this thread connects known to `cut`, until the block ends."""
        me = threading.get_ident()
        self._in_use[me] = None
        try:
            yield
        finally:
            del self._in_use[me]

    def cut(self, thread: int) -> None:
        """End what that thread waits for with an error, if it waits at all; connecting itself has to time out."""
        wire = self._in_use.get(thread)
        if wire is not None:
            with contextlib.suppress(OSError, TypeError):  # TLS in TLS, by a proxy, has no socket of its own
                # Past the TLS layer, whose own shutdown is not for other threads.
                socket.socket.shutdown(wire, socket.SHUT_RDWR)

    def _note(self, wire: socket.socket | None) -> None:
        me = threading.get_ident()
        if wire is not None and me in self._in_use:
            self._in_use[me] = wire

    def lay_into(self, manager: urllib3.PoolManager) -> None:
        """Have the manager's connections, from now on, be ours."""
        wires = self

        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                wires._note(self.sock)

            def request(self, *args: Any, **more: Any) -> None:
                wires._note(self.sock)
                super().request(*args, **more)

        class Secure(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                wires._note(self.sock)

            def request(self, *args: Any, **more: Any) -> None:
                wires._note(self.sock)
                super().request(*args, **more)

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Secure

        manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
