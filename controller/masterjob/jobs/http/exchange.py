"""One POST that can be broken off from another thread.

What makes that worth a file: a stop must not wait for a start that hangs, and after the stop was sent nothing of
the start may follow. So a broken-off exchange sends nothing more, wherever it stands.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.parse import SplitResult, urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

from masterjob.election.errors import MasterJobError

BODY_LIMIT = 1024
"""Bytes of an answer that are read, for the error."""

AGAIN = frozenset({502, 503, 504})
"""Answers of somebody between us and the service: it may be there in a moment."""

_HIDDEN = dict.fromkeys((*range(32), *range(127, 160)), " ")


class CallFailed(MasterJobError):
    """The service could not be reached, or did not answer with 2xx. ``again`` tells whether to try once more."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


@dataclass(frozen=True, slots=True)
class Message:
    """What is posted, and where."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes

    @property
    def shown(self) -> str:
        """The URL without its query, which may hold a token."""
        parts = urlsplit(self.url)
        return SplitResult(parts.scheme, parts.netloc, parts.path, "", "").geturl()


class Exchange:
    """One attempt. `post` blocks; `break_off` may be called from any thread and does not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._broken_off = False
        self._socket: socket.socket | None = None

    def break_off(self) -> None:
        """End the attempt: a connection that stands is shut, one that does not stand yet is used no more."""
        with self._lock:
            self._broken_off = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def post(self, message: Message, timeout: float) -> None:
        """Post it and read the answer, waiting at most ``timeout`` seconds for each step of that.

        Raises:
            CallFailed: no answer, or another one than 2xx.
        """
        connection = _connection(message.url, timeout)
        try:
            _connect(connection, message)
            self._talk(connection, message)
        except TimeoutError:
            raise CallFailed(f"{message.shown} did not answer in time", again=False) from None
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            why = "the call was broken off" if self._broken_off else _reason(error)
            raise CallFailed(f"{message.shown} gave no answer: {why}", again=not self._broken_off) from None
        finally:
            with self._lock:
                self._socket = None
            connection.close()

    def _talk(self, connection: HTTPConnection, message: Message) -> None:
        with self._lock:
            if self._broken_off:
                raise OSError("too late")
            self._socket = connection.sock
        parts = urlsplit(message.url)
        target = SplitResult("", "", parts.path or "/", parts.query, "").geturl()
        connection.request("POST", target, message.body, message.headers, preload_content=False)
        with contextlib.closing(connection.getresponse()) as response:
            if not 200 <= response.status < 300:
                raise CallFailed(_refusal(message, response), again=response.status in AGAIN)


def _connection(url: str, timeout: float) -> HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return HTTPSConnection(host, parts.port, timeout=timeout, ssl_context=ssl.create_default_context())
    return HTTPConnection(host, parts.port, timeout=timeout)


def _connect(connection: HTTPConnection, message: Message) -> None:
    """Connect; that nobody is there yet is worth another try, even if it took all the time."""
    try:
        connection.connect()
    except (HTTPError, OSError) as error:
        untrusted = "certificate" in str(error).lower()  # urllib3 wraps what the ssl module says
        raise CallFailed(f"{message.shown} cannot be reached: {_reason(error)}", again=not untrusted) from None


def _reason(error: BaseException) -> str:
    """Return what went wrong without the objects that urllib3 puts before it."""
    return str(error).partition("object at 0x")[2].partition(": ")[2] or str(error) or type(error).__name__


def _refusal(message: Message, response: HTTPResponse) -> str:
    what = f"{message.shown} answered {response.status}"
    if 300 <= response.status < 400:
        return f"{what}: redirects are not followed"
    body = b""
    with contextlib.suppress(HTTPError, HTTPException, OSError):  # the status says enough
        body = response.read(BODY_LIMIT, decode_content=False)
    said = body.decode(errors="replace").translate(_HIDDEN).strip()
    return f"{what}: {said}" if said else what
