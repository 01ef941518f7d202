"""One run of kopf: the watch of all MasterJobs in scope, in the thread that calls `run`, with a loop of its own.

kopf keeps no state here and writes nothing: there are event handlers only, no peering, no finalizers, no
annotations, no Events. It ends by itself at answers that it does not expect, so whoever runs it runs it again.

What must not be here: what is done with events; when it is run again.

Source: design section 6.2.
"""

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import kopf

from masterjob.concurrency.clock import clock
from masterjob.kube.api.client import GROUP, PLURAL, VERSION
from masterjob.kube.api.config import ClusterConfig
from masterjob.kube.informer.kopf_session import KopfSessionFactory

logger = logging.getLogger("masterjob")

WatchEventHandler = Callable[[str | None, Mapping[str, Any]], None]
"""Called for each event with its type and the object."""

_INACTIVITY_TIMEOUT = 70.0
_REQUEST_TIMEOUT = 30.0
_CONNECT_TIMEOUT = 3.0

_IDENTITY = "masterjob"
"""Said, or kopf looks for the name of the user, which a container's need not have."""


class _RequestBackoffs:
    """Seconds between two tries of a request; without end, or kopf would end."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.2, 0.5, 1.0, 2.0), itertools.repeat(5.0))


class _KopfLogHandler(logging.Handler):
    """Has kopf's warnings stand in our log; what it repeats anyway, or ends of, is said by us, in a sentence.

    Its own records carry things that not every formatter can write.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        message = record.getMessage()
        is_routine = (
            message.startswith(("Request attempt", "Activity", "OS signals are ignored"))
            or " has failed" in message
        )
        logger.log(logging.DEBUG if is_routine else record.levelno, "kopf: %s", message, exc_info=record.exc_info)


class KopfWatch:
    """The watch, once. ``on_list`` is called whenever kopf has begun from the beginning."""

    def __init__(
        self,
        config: ClusterConfig,
        namespaces: Sequence[str],
        on_event: WatchEventHandler,
        on_list: Callable[[], None],
    ) -> None:
        self._namespaces, self._on_event = namespaces, on_event
        self._session_factory = KopfSessionFactory(config, on_list, self._on_watch_established)
        self._established_paths: set[str] = set()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self._started_at = clock()

    @property
    def age(self) -> float:
        """How many seconds ago it began."""
        return clock() - self._started_at

    @property
    def is_established(self) -> bool:
        """Whether each of its watches was answered once."""
        return len(self._established_paths) >= max(1, len(self._namespaces))

    def run(self) -> str:
        """Watch until it is cancelled or ends by itself; return why."""
        _install_log_handler()
        try:
            asyncio.run(self._run_kopf())
        except asyncio.CancelledError:
            return "it was cancelled"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "kopf has ended"

    def cancel(self) -> None:
        """Have it end, from any thread; also before it has begun."""
        with self._lock:
            self._cancelled = True
            if self._loop is not None and self._task is not None:
                with contextlib.suppress(RuntimeError):  # it has just ended
                    self._loop.call_soon_threadsafe(self._task.cancel)

    async def _run_kopf(self) -> None:
        with self._lock:
            if self._cancelled:
                return
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        await kopf.operator(
            registry=self._build_registry(),
            settings=_kopf_settings(),
            identity=_IDENTITY,  # type: ignore[arg-type] # its own type of text has no public name
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
        )

    def _build_registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._session_factory.login)
        kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(self._handle_event)
        return registry

    async def _handle_event(self, event: Mapping[str, Any], **_: object) -> None:
        self._on_event(event["type"], event["object"])

    def _on_watch_established(self, path: str) -> None:
        self._established_paths.add(path)


def _kopf_settings() -> kopf.OperatorSettings:
    """Return what makes kopf a watch and nothing else."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.finalizer = f"{GROUP}/none"  # kopf takes what it believes to be its own away
    settings.process.ultimate_exiting_timeout = None  # else it kills the process later, for having ended by itself
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
