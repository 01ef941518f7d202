"""One request that another thread can cancel.

A stop must not wait for a start that hangs, and nothing of the start may be sent after the stop. So an attempt
that was cancelled sends nothing more, whatever step it is at.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.parse import SplitResult, urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

from masterjob.errors import MasterJobError

BODY_LIMIT = 1024
"""Bytes of an answer to read for the error message."""

RETRYABLE_STATUSES = frozenset({502, 503, 504})
"""Statuses that a proxy answers while the service is not reachable."""

_CONTROL_CHARACTERS = dict.fromkeys((*range(32), *range(127, 160)), " ")


class HookFailed(MasterJobError):
    """The service could not be reached, or did not answer with 2xx.

    ``retryable``: another attempt may help. ``status``: that of the answer, or None if there was none.
    """

    def __init__(self, message: str, *, retryable: bool, status: int | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.status = status


HeaderReader = Callable[[], str]
"""Returns the value of a header for one call.

Raises:
    HookFailed: the value cannot be read. The message does not contain it.
"""


@dataclass(frozen=True, slots=True)
class HookRequest:
    """A request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = None

    @property
    def redacted_url(self) -> str:
        """The URL without its query, which may contain a token."""
        parts = urlsplit(self.url)
        return SplitResult(parts.scheme, parts.netloc, parts.path, "", "").geturl()


class HookAttempt:
    """One attempt. `send` blocks; `cancel` may be called from any thread and does not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._socket: socket.socket | None = None

    def cancel(self) -> None:
        """Shut down the connection. If there is none yet, it will not be used."""
        with self._lock:
            self._cancelled = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def send(self, request: HookRequest, timeout: float) -> None:
        """Send the request and read the answer, with a timeout of ``timeout`` seconds for each step.

        Raises:
            HookFailed: there was no answer, or its status is not 2xx.
        """
        connection = _create_connection(request.url, timeout)
        try:
            _connect(connection, request)
            self._send(connection, request)
        except TimeoutError:
            raise HookFailed(f"{request.redacted_url} did not answer in time", retryable=False) from None
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            reason = "the call was cancelled" if self._cancelled else _describe_network_error(error)
            raise HookFailed(
                f"{request.redacted_url} gave no answer: {reason}", retryable=not self._cancelled
            ) from None
        finally:
            with self._lock:
                self._socket = None
            connection.close()

    def _send(self, connection: HTTPConnection, request: HookRequest) -> None:
        with self._lock:
            if self._cancelled:
                raise OSError("cancelled")
            self._socket = connection.sock
        parts = urlsplit(request.url)
        target = SplitResult("", "", parts.path or "/", parts.query, "").geturl()
        connection.request(request.method, target, request.body, request.headers, preload_content=False)
        with contextlib.closing(connection.getresponse()) as response:
            if not 200 <= response.status < 300:
                raise HookFailed(
                    _describe_response(request, response),
                    retryable=response.status in RETRYABLE_STATUSES,
                    status=response.status,
                )


def _create_connection(url: str, timeout: float) -> HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return HTTPSConnection(host, parts.port, timeout=timeout, ssl_context=ssl.create_default_context())
    return HTTPConnection(host, parts.port, timeout=timeout)


def _connect(connection: HTTPConnection, request: HookRequest) -> None:
    """Connect. A failure to connect is retryable, even after a timeout."""
    try:
        connection.connect()
    except (HTTPError, OSError) as error:
        is_certificate_error = "certificate" in str(error).lower()  # urllib3 wraps the error of the ssl module
        raise HookFailed(
            f"{request.redacted_url} cannot be reached: {_describe_network_error(error)}",
            retryable=not is_certificate_error,
        ) from None


def _describe_network_error(error: BaseException) -> str:
    """Return the message without the object that urllib3 puts before it."""
    return str(error).partition("object at 0x")[2].partition(": ")[2] or str(error) or type(error).__name__


def _describe_response(request: HookRequest, response: HTTPResponse) -> str:
    summary = f"{request.redacted_url} answered {response.status}"
    if 300 <= response.status < 400:
        return f"{summary}: redirects are not followed"
    body = b""
    with contextlib.suppress(HTTPError, HTTPException, OSError):  # the status is enough
        body = response.read(BODY_LIMIT, decode_content=False)
    body_text = body.decode(errors="replace").translate(_CONTROL_CHARACTERS).strip()
    return f"{summary}: {body_text}" if body_text else summary
