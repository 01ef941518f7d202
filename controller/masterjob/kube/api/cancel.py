"""Connections that can be cut from another thread, so that whoever waits on one need not be waited for."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class InFlightSockets:
    """The sockets of one client that are in use, by the thread that uses them."""

    def __init__(self) -> None:
        self._by_thread: dict[int, socket.socket | None] = {}

    @contextlib.contextmanager
    def track(self) -> Iterator[None]:
        """Have what this thread connects known to `cancel`, until the block ends."""
        thread_id = threading.get_ident()
        self._by_thread[thread_id] = None
        try:
            yield
        finally:
            del self._by_thread[thread_id]

    def cancel(self, thread_id: int) -> None:
        """End what that thread waits for with an error, if it waits at all; connecting itself has to time out."""
        sock = self._by_thread.get(thread_id)
        if sock is not None:
            with contextlib.suppress(OSError, TypeError):  # TLS in TLS, by a proxy, has no socket of its own
                # Past the TLS layer, whose own shutdown is not for other threads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _register(self, sock: socket.socket | None) -> None:
        thread_id = threading.get_ident()
        if sock is not None and thread_id in self._by_thread:
            self._by_thread[thread_id] = sock

    def install(self, pool_manager: urllib3.PoolManager) -> None:
        """Have the manager's connections, from now on, be ours."""
        sockets = self

        class TrackedHTTPConnection(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                sockets._register(self.sock)

            def request(self, *args: Any, **kwargs: Any) -> None:
                sockets._register(self.sock)
                super().request(*args, **kwargs)

        class TrackedHTTPSConnection(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                sockets._register(self.sock)

            def request(self, *args: Any, **kwargs: Any) -> None:
                sockets._register(self.sock)
                super().request(*args, **kwargs)

        class TrackedHTTPPool(urllib3.HTTPConnectionPool):
            ConnectionCls = TrackedHTTPConnection

        class TrackedHTTPSPool(urllib3.HTTPSConnectionPool):
            ConnectionCls = TrackedHTTPSConnection

        pool_manager.pool_classes_by_scheme = {"http": TrackedHTTPPool, "https": TrackedHTTPSPool}
