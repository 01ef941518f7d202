"""Requests that another thread can cancel, by shutting down their sockets."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class InFlightSockets:
    """The sockets of one client that are in use, by the identifier of the thread."""

    def __init__(self) -> None:
        self._by_thread: dict[int, socket.socket | None] = {}

    @contextlib.contextmanager
    def track(self) -> Iterator[None]:
        """Make the requests of this thread cancellable until the block ends."""
        thread_id = threading.get_ident()
        self._by_thread[thread_id] = None
        try:
            yield
        finally:
            del self._by_thread[thread_id]

    def cancel(self, thread_id: int) -> None:
        """Make the pending request of a thread fail, if there is one. One that is connecting times out."""
        sock = self._by_thread.get(thread_id)
        if sock is not None:
            with contextlib.suppress(OSError, TypeError):  # TLS in TLS, through a proxy, has no plain socket
                # Not through the TLS layer, whose own shutdown is not thread-safe.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _register(self, sock: socket.socket | None) -> None:
        thread_id = threading.get_ident()
        if sock is not None and thread_id in self._by_thread:
            self._by_thread[thread_id] = sock

    def install(self, pool_manager: urllib3.PoolManager) -> None:
        """Make the manager track the sockets of new connections here."""
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
