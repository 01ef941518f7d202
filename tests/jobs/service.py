"""A service on loopback with answers that the test sets. It records its requests."""

import http.server
import json
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.timeouts import WAIT_TIMEOUT

Answer = tuple[int, bytes, dict[str, str]]


class ReceivedRequest(NamedTuple):
    path: str
    headers: dict[str, str]
    content: dict[str, Any]


class FakeService:
    """Each POST gets the next of ``answers`` (status, body, headers), and each GET the next of ``check_answers``.

    The last one repeats. A GET is recorded as the event ``check``.
    """

    def __init__(self) -> None:
        self.answers: list[Answer] = [(204, b"", {})]
        self.check_answers: list[Answer] = [(204, b"", {})]
        self.requests: list[ReceivedRequest] = []
        self.before_answer: dict[str, Callable[[], object]] = {}
        """What to call before the answer to an event."""
        self.closing = threading.Event()
        self._changed = threading.Condition()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler_class())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_port

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def events(self) -> list[str]:
        return [request.content["event"] for request in self.requests]

    def wait_for(self, event: str) -> ReceivedRequest:
        with self._changed:
            assert self._changed.wait_for(lambda: event in self.events, WAIT_TIMEOUT), (
                f"no {event}, only {self.events}"
            )
            return next(request for request in self.requests if request.content["event"] == event)

    def wait_for_count(self, event: str, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.events.count(event) >= count, WAIT_TIMEOUT), self.events

    def hang(self, event: str) -> None:
        self.before_answer[event] = lambda: self.closing.wait(WAIT_TIMEOUT)

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler_class(service) -> type[http.server.BaseHTTPRequestHandler]:  # noqa: N805 - self is the handler's
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self._receive(json.loads(self.rfile.read(int(self.headers["Content-Length"]))), service.answers)

            def do_GET(self) -> None:
                self._receive({"event": "check"}, service.check_answers)

            def _receive(self, content: dict[str, Any], answers: list[Answer]) -> None:
                with service._changed:
                    service.requests.append(ReceivedRequest(self.path, dict(self.headers), content))
                    status, body, headers = answers.pop(0) if answers[1:] else answers[0]
                    service._changed.notify_all()
                service.before_answer.get(content["event"], lambda: None)()
                try:
                    self._answer(status, body, headers)
                except OSError:
                    self.close_connection = True

            def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        return Handler
