"""The authoritative LIST: at the start until it succeeds, after every gap in the watch, and periodically.

A LIST that fails, also because the CRD is not installed, removes nothing: it is logged once, and retried.
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from masterjob.concurrency.backoff import Backoff
from masterjob.concurrency.clock import clock
from masterjob.kube.api.client import GROUP, PLURAL, KubeApi
from masterjob.kube.api.errors import ApiRefused, ApiUnavailable, CrdNotInstalled
from masterjob.kube.informer.informer import Informer

logger = logging.getLogger("masterjob")

CRD_NOT_INSTALLED = (
    f"the API server does not know {PLURAL}.{GROUP} yet: kubectl apply -f crds/masterjobs.yaml; "
    "MasterJobs are followed as soon as it does"
)

_MAX_RETRY_AFTER = 60.0
"""Seconds that are waited at most because the API server asks for it."""


@dataclass(frozen=True, slots=True)
class WatchScope:
    """The namespaces whose MasterJobs are followed; empty for the whole cluster."""

    namespaces: tuple[str, ...] = ()

    @property
    def list_targets(self) -> tuple[str | None, ...]:
        """The namespace of each LIST; None is the whole cluster."""
        return self.namespaces or (None,)


@dataclass(frozen=True, slots=True)
class InformerTimings:
    """Timeouts and delays, in seconds."""

    initial_list_timeout: float = 10.0
    """How long delivery waits for the first LIST to succeed."""
    gap_relist_delay: float = 2.0
    """From a gap in the watch to the LIST that finds what was deleted in it."""
    relist_period: float = 300.0
    """Between two periodic LISTs."""
    watch_start_timeout: float = 20.0
    """How long a watch may be unanswered while LISTs are answered."""
    watch_lag_limit: float = 60.0
    """How long the watch may take to report what a LIST has found."""
    min_backoff: float = 0.2
    max_backoff: float = 5.0
    crd_poll_interval: float = 1.0
    """Between two attempts while the CRD is not installed."""


class Relister:
    """Lists all MasterJobs in scope whenever that is due, in the thread that calls `run`.

    ``on_listed`` is called after each LIST of the whole scope.
    """

    def __init__(
        self,
        api: KubeApi,
        scope: WatchScope,
        informer: Informer,
        timings: InformerTimings,
        on_listed: Callable[[], None],
    ) -> None:
        self.last_listed_at: float | None = None
        self.last_error: str | None = None
        self._api, self._scope, self._informer = api, scope, informer
        self._timings, self._on_listed = timings, on_listed
        self._condition = threading.Condition()
        self._due_at = clock()
        self._next_periodic_at = float("inf")
        self._backoff = Backoff(timings.min_backoff, timings.max_backoff)
        self._failures = 0
        self._is_ready = False
        self._closed = False
        self._error_kind: object = None

    # --- callable from any thread

    def request_list(self, delay: float = 0.0) -> None:
        """Schedule a LIST in ``delay`` seconds, or keep an earlier time."""
        with self._condition:
            self._due_at = min(self._due_at, clock() + delay)
            self._condition.notify_all()

    def invalidate(self) -> None:
        """Make `wait_ready` wait for the next LIST, and request it."""
        with self._condition:
            self._is_ready = False
        self.request_list()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until a watch can start: all is listed, the type is served. Return False on timeout or close."""
        with self._condition:
            self._condition.wait_for(lambda: self._is_ready or self._closed, timeout)
            return self._is_ready and not self._closed

    def close(self) -> None:
        """Start no more LISTs."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    # --- the thread

    def run(self) -> None:
        """List whenever it is due, until closed."""
        while self._wait_until_due():
            try:
                delay = self._try_list()
            except Exception:
                logger.exception("a defect while MasterJobs were listed; the LIST is retried")
                delay = self._timings.max_backoff
            with self._condition:
                # After a failure, a LIST that was requested meanwhile waits for the back-off too.
                self._due_at = clock() + delay if self._failures else min(self._due_at, clock() + delay)

    def _wait_until_due(self) -> bool:
        with self._condition:
            while not self._closed and (wait := self._due_at - clock()) > 0:
                self._condition.wait(wait)
            self._due_at = float("inf")
            return not self._closed

    def _try_list(self) -> float:
        """List once, and return the seconds until the next LIST is due."""
        try:
            complete = self._list_scope()
        except CrdNotInstalled:
            return self._record_failure(CrdNotInstalled, CRD_NOT_INSTALLED, self._timings.crd_poll_interval)
        except ApiRefused as error:
            return self._record_failure(error.status, str(error), self._backoff.delay(self._failures))
        except ApiUnavailable as error:
            message = f"MasterJobs cannot be listed at the moment; the election goes on: {error}"
            return self._record_failure(
                ApiUnavailable,
                message,
                max(self._backoff.delay(self._failures), min(error.retry_after or 0.0, _MAX_RETRY_AFTER)),
            )
        self._record_success()
        return max(0.0, self._next_periodic_at - clock()) if complete else self._timings.max_backoff

    def _list_scope(self) -> bool:
        """List each namespace in scope, even if another one fails; raise the first error in the end."""
        errors: list[ApiRefused | ApiUnavailable] = []
        complete = True
        for namespace in self._scope.list_targets:
            if self._closed:
                raise ApiUnavailable("the operator is stopping")
            epoch = self._informer.begin_list()
            try:
                bodies = self._api.list(namespace)
            except ApiRefused as error:
                errors.append(ApiRefused(error.status, _list_error_message(namespace, error)))
            except ApiUnavailable as error:
                errors.append(error)
            else:
                complete &= self._informer.replace(bodies, () if namespace is None else (namespace,), epoch)
        if errors:
            raise errors[0]
        if not self._is_ready and not self._api.is_served():
            raise CrdNotInstalled(CRD_NOT_INSTALLED)
        return complete

    def _record_success(self) -> None:
        first = self._next_periodic_at == float("inf")
        periodic = first or clock() >= self._next_periodic_at
        if self._error_kind is not None:
            logger.info("MasterJobs are listed again")
        self._failures, self.last_error, self._error_kind = 0, None, None
        self.last_listed_at = clock()
        self._informer.start_delivery()
        if periodic:
            self._informer.resync()
            self._next_periodic_at = clock() + self._timings.relist_period * random.uniform(0.9, 1.1)  # noqa: S311 - jitter is not a secret
        with self._condition:
            self._is_ready = True
            self._condition.notify_all()
        self._on_listed()

    def _record_failure(self, error_kind: object, message: str, delay: float) -> float:
        self._failures += 1
        if error_kind != self._error_kind and not self._closed:
            logger.warning("%s", message)
        self.last_error, self._error_kind = message, error_kind
        return delay


def _list_error_message(namespace: str | None, error: ApiRefused) -> str:
    location = "in the whole cluster" if namespace is None else f"in namespace {namespace}"
    missing_rights = f": we need get, list and watch on {PLURAL}.{GROUP} there" if error.status == 403 else ""
    return f"MasterJobs {location} cannot be listed{missing_rights} ({error})"
