"""One run of kopf: a watch of the MasterJobs in scope, on a loop of its own, in the thread that calls `run`.

kopf is only a watch here. It has event handlers, but no state, peering, finalizers, annotations or Events. It ends
at responses that it does not expect, so the caller runs it again.

kopf does not report what it does, so its HTTP session does:

    a LIST was answered    there was a gap in the watch; deletions within it are never reported
    a WATCH was answered   events are received from now on
"""

import asyncio
import contextlib
import itertools
import logging
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
import kopf
from kubernetes.client.rest import should_bypass_proxies

from masterjob.concurrency.clock import clock
from masterjob.kube.api.client import GROUP, PLURAL, VERSION
from masterjob.kube.api.config import ClusterConfig

logger = logging.getLogger("masterjob")

WatchEventHandler = Callable[[str | None, Mapping[str, Any]], None]
"""Called for each event with its type (None for the initial state) and the object."""

_INACTIVITY_TIMEOUT = 70.0
_REQUEST_TIMEOUT = 30.0
_CONNECT_TIMEOUT = 3.0

_SESSION_LIFETIME = timedelta(minutes=10)
_MIN_LOGIN_INTERVAL = 2.0
"""Seconds between two logins at least; if a token is refused, kopf would ask for the next session at once."""

_IDENTITY = "masterjob"
"""Without it, kopf looks up the name of the user, which a container may not have."""


class _RequestBackoffs:
    """The seconds between two attempts of a request; endless, or kopf would end."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.2, 0.5, 1.0, 2.0), itertools.repeat(5.0))


class _KopfLogHandler(logging.Handler):
    """Forwards kopf's warnings to our log, without the extra attributes that not every formatter can write.

    Failures that kopf retries, or that end it, are logged for debugging only: the caller logs them in a sentence.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Forward the record."""
        message = record.getMessage()
        is_routine = (
            message.startswith(("Request attempt", "Activity", "OS signals are ignored"))
            or " has failed" in message
        )
        logger.log(logging.DEBUG if is_routine else record.levelno, "kopf: %s", message, exc_info=record.exc_info)


class KopfWatch:
    """One run of the watch. ``on_list`` is called whenever kopf has listed, at the start and after a gap."""

    def __init__(
        self,
        config: ClusterConfig,
        namespaces: Sequence[str],
        on_event: WatchEventHandler,
        on_list: Callable[[], None],
    ) -> None:
        self._namespaces, self._on_event = namespaces, on_event
        self._established_paths: set[str] = set()
        self._sessions = _SessionFactory(config, on_list, self._established_paths.add)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self._started_at = clock()

    @property
    def age(self) -> float:
        """The seconds since it was created."""
        return clock() - self._started_at

    @property
    def is_established(self) -> bool:
        """Whether each of its watches has been answered."""
        return len(self._established_paths) >= max(1, len(self._namespaces))

    def run(self) -> str:
        """Watch until it is cancelled or ends by itself; return the reason."""
        _install_log_handler()
        try:
            asyncio.run(self._run_kopf())
        except asyncio.CancelledError:
            return "it was cancelled"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "kopf has ended"

    def cancel(self) -> None:
        """End the watch, from any thread, even before `run` is called."""
        with self._lock:
            self._cancelled = True
            if self._loop is not None and self._task is not None:
                with contextlib.suppress(RuntimeError):  # the loop has just ended
                    self._loop.call_soon_threadsafe(self._task.cancel)

    async def _run_kopf(self) -> None:
        with self._lock:
            if self._cancelled:
                return
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        await kopf.operator(
            registry=self._build_registry(),
            settings=_kopf_settings(),
            identity=_IDENTITY,  # type: ignore[arg-type] # its str subclass has no public name
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
        )

    def _build_registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._sessions.login)
        kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(self._handle_event)
        return registry

    async def _handle_event(self, event: Mapping[str, Any], **_: object) -> None:
        self._on_event(event["type"], event["object"])


class _SessionFactory:
    """Opens the HTTP sessions of kopf, each with the token of that moment.

    ``on_list`` and, with the path, ``on_watch`` are called on kopf's loop when such a request was answered.
    """

    def __init__(
        self, config: ClusterConfig, on_list: Callable[[], None], on_watch: Callable[[str], None]
    ) -> None:
        self._config = config
        self._on_list, self._on_watch = on_list, on_watch
        self._last_login_at = float("-inf")

    async def login(self, **_: object) -> kopf.AiohttpSession:
        """Return a session; kopf calls this, and closes the session."""
        await asyncio.sleep(self._last_login_at + _MIN_LOGIN_INTERVAL - clock())
        self._last_login_at = clock()
        try:
            return self._open_session()
        except (OSError, ValueError) as error:
            raise kopf.TemporaryError(
                f"the credentials cannot be read: {error}", delay=_MIN_LOGIN_INTERVAL
            ) from None

    def _open_session(self) -> kopf.AiohttpSession:
        configuration = self._config.configuration
        authorization_header = self._config.authorization_header()
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._on_request_end)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._ssl_context()),
            headers={
                "User-Agent": "masterjob",
                **({"Authorization": authorization_header} if authorization_header else {}),
            },
            proxy=None
            if should_bypass_proxies(configuration.host, configuration.no_proxy or "")
            else configuration.proxy,
            trace_configs=[trace],
        )
        return kopf.AiohttpSession(
            server=configuration.host, aiohttp_session=session, expiration=datetime.now(UTC) + _SESSION_LIFETIME
        )

    def _ssl_context(self) -> ssl.SSLContext | bool:
        configuration = self._config.configuration
        if configuration.host.startswith("http:"):  # for example through `kubectl proxy`
            return True
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        ).as_ssl_context()

    async def _on_request_end(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        if params.response.status != 200 or params.url.name != PLURAL:
            return
        if "watch" in params.url.query:
            self._on_watch(params.url.path)
        else:
            self._on_list()


def _kopf_settings() -> kopf.OperatorSettings:
    """Return settings with which kopf is a watch and nothing else."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.finalizer = f"{GROUP}/none"  # kopf removes the finalizer that it takes for its own
    settings.process.ultimate_exiting_timeout = None  # else it kills the process after it has ended by itself
    settings.networking.error_backoffs = _RequestBackoffs()
    settings.networking.connect_timeout = _CONNECT_TIMEOUT
    settings.networking.request_timeout = _REQUEST_TIMEOUT
    settings.watching.inactivity_timeout = _INACTIVITY_TIMEOUT
    settings.queueing.idle_timeout = 1.0
    settings.queueing.worker_limit = None
    return settings


def _install_log_handler() -> None:
    kopf_logger = logging.getLogger("kopf")
    if not any(isinstance(each, _KopfLogHandler) for each in kopf_logger.handlers):
        kopf_logger.addHandler(_KopfLogHandler())
        kopf_logger.setLevel(logging.WARNING)
        kopf_logger.propagate = False
