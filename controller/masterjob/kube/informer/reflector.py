"""Keeps the picture of the MasterJobs right: the LIST in one thread, kopf in another, begun again when it ends.

    the first LIST  ->  all is told, and the watch begins  ->  it ends, or does not hear  ->  LIST, watch again
    kopf starts from the beginning  ->  LIST, for what vanished where nobody heard it

What must not be here: what the resources mean.

Source: design section 6.2.
"""

import logging
import threading

from masterjob.concurrency.clock import clock
from masterjob.kube.api.client import KubeApi
from masterjob.kube.informer.informer import Informer
from masterjob.kube.informer.kopf_watch import KopfWatch
from masterjob.kube.informer.relist import InformerTimings, Relister, WatchScope

logger = logging.getLogger("masterjob")

_CANCEL_AFTER = 0.2


class Reflector:
    """Follows the MasterJobs in ``scope`` and has ``informer`` show them, until it is stopped."""

    def __init__(
        self, api: KubeApi, scope: WatchScope, informer: Informer, timings: InformerTimings | None = None
    ) -> None:
        self.restarts = 0
        """How often the watch had to begin again."""
        self._api, self._scope, self._informer, self._timings = api, scope, informer, timings or InformerTimings()
        self._relister = Relister(api, scope, informer, self._timings, self._check_watch)
        self._kopf_watch: KopfWatch | None = None
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._relister.run, name="masterjob list", daemon=True),
            threading.Thread(target=self._watch_loop, name="masterjob watch", daemon=True),
        ]

    @property
    def has_synced(self) -> bool:
        """Whether everything was listed once, so that nothing is missing in the picture."""
        return self._relister.last_listed_at is not None

    @property
    def last_listed_at(self) -> float | None:
        """When everything was listed last, by the local clock."""
        return self._relister.last_listed_at

    @property
    def is_watching(self) -> bool:
        """Whether the watch has begun, in every namespace."""
        return self._kopf_watch is not None and self._kopf_watch.is_established

    @property
    def list_error(self) -> str | None:
        """Why MasterJobs cannot be listed at the moment, in a sentence; None where they can."""
        return self._relister.last_error

    @property
    def is_alive(self) -> bool:
        """Whether its threads go on."""
        return all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Begin to follow."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 2.0) -> bool:
        """Follow no more; False if that takes longer. What is waited for is cut off, but for connecting itself."""
        deadline = clock() + timeout
        self._stopping.set()
        self._relister.close()
        if (kopf_watch := self._kopf_watch) is not None:
            kopf_watch.cancel()
        while any(thread.is_alive() for thread in self._threads) and clock() < deadline:
            for thread in self._threads:
                thread.join(max(0.0, min(_CANCEL_AFTER, deadline - clock())))
                if thread.is_alive() and thread.ident is not None:
                    self._api.cancel(thread.ident)
        return not any(thread.is_alive() for thread in self._threads)

    def _watch_loop(self) -> None:
        if not self._relister.wait_ready(self._timings.initial_list_timeout) and not self._stopping.is_set():
            logger.warning(
                "no LIST of MasterJobs for %g s: what is known is done, others follow",
                self._timings.initial_list_timeout,
            )
            self._informer.start_delivery()
        backoff = self._timings.min_backoff
        while self._relister.wait_ready():
            duration = self._run_watch()
            if self._stopping.is_set():
                return
            self.restarts += 1
            self._relister.invalidate()
            backoff = (
                self._timings.min_backoff
                if duration > self._timings.watch_lag_limit
                else min(2 * backoff, self._timings.max_backoff)
            )
            self._stopping.wait(backoff)

    def _run_watch(self) -> float:
        """Watch until that ends, and return how many seconds it took."""
        kopf_watch = KopfWatch(
            self._api.config, self._scope.namespaces, self._informer.handle_event, self._on_kopf_list
        )
        self._kopf_watch = kopf_watch
        if self._stopping.is_set():  # perhaps between the two, and so not cancelled
            return 0.0
        self._relister.request_list(self._timings.watch_start_timeout)
        reason = kopf_watch.run()
        self._kopf_watch = None
        if not self._stopping.is_set():
            logger.warning("the watch of MasterJobs has ended and begins again: %s", reason)
        return kopf_watch.age

    def _on_kopf_list(self) -> None:
        """Kopf starts from the beginning: what has vanished meanwhile it will never tell."""
        self._relister.request_list(self._timings.gap_relist_delay)

    def _check_watch(self) -> None:
        """LISTs are answered: end a watch that is not, or that does not tell what they have found."""
        kopf_watch = self._kopf_watch
        if kopf_watch is None:
            return
        is_unanswered = not kopf_watch.is_established and kopf_watch.age >= self._timings.watch_start_timeout
        if is_unanswered or (
            kopf_watch.age >= self._timings.watch_lag_limit
            and self._informer.is_watch_behind(self._timings.watch_lag_limit)
        ):
            logger.warning("the watch of MasterJobs tells nothing, although they can be listed")
            kopf_watch.cancel()
        elif not kopf_watch.is_established or self._informer.is_watch_behind(0.0):
            self._relister.request_list(
                min(self._timings.watch_start_timeout, self._timings.watch_lag_limit) + 1.0
            )
