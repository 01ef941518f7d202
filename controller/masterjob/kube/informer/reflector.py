"""Keeps the informer up to date: LISTs in one thread, and the watch in another, restarted when it ends.

the first LIST  ->  delivery and the watch begin  ->  the watch ends, or reports nothing  ->  LIST, watch again
kopf has listed, so there was a gap  ->  LIST, to find what was deleted in the gap
"""

import logging
import threading

from masterjob.concurrency.backoff import Backoff
from masterjob.concurrency.clock import clock
from masterjob.kube.api.client import KubeApi
from masterjob.kube.informer.informer import Informer
from masterjob.kube.informer.kopf_watch import KopfWatch
from masterjob.kube.informer.relist import InformerTimings, Relister, WatchScope

logger = logging.getLogger("masterjob")

_CANCEL_AFTER = 0.2
"""Seconds after which `Reflector.stop` cancels a pending request."""


class Reflector:
    """Keeps ``informer`` up to date with the MasterJobs in ``scope``, until it is stopped."""

    def __init__(
        self, api: KubeApi, scope: WatchScope, informer: Informer, timings: InformerTimings | None = None
    ) -> None:
        self.restarts = 0
        """How often the watch was restarted."""
        self._api, self._scope, self._informer, self._timings = api, scope, informer, timings or InformerTimings()
        self._relister = Relister(api, scope, informer, self._timings, self._check_watch)
        self._kopf_watch: KopfWatch | None = None
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._relister.run, name="masterjob-relist", daemon=True),
            threading.Thread(target=self._watch_loop, name="masterjob-watch", daemon=True),
        ]

    @property
    def has_synced(self) -> bool:
        """Whether everything has been listed once."""
        return self._relister.last_listed_at is not None

    @property
    def last_listed_at(self) -> float | None:
        """The local time when everything was listed last; None if never."""
        return self._relister.last_listed_at

    @property
    def is_watching(self) -> bool:
        """Whether the watch runs, in every namespace."""
        return self._kopf_watch is not None and self._kopf_watch.is_established

    @property
    def list_error(self) -> str | None:
        """The reason why MasterJobs cannot be listed at the moment, in a sentence; None if they can."""
        return self._relister.last_error

    @property
    def is_alive(self) -> bool:
        """Whether both threads are alive."""
        return all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 2.0) -> bool:
        """Stop within ``timeout`` seconds, or return False. Pending requests are cancelled, unless connecting."""
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
                "MasterJobs were not listed within %g s; those that are known so far are applied",
                self._timings.initial_list_timeout,
            )
            self._informer.start_delivery()
        backoff = Backoff(self._timings.min_backoff, self._timings.max_backoff)
        short_runs = 0
        while self._relister.wait_ready():
            duration = self._run_watch()
            if self._stopping.is_set():
                return
            self.restarts += 1
            self._relister.invalidate()
            short_runs = 0 if duration > self._timings.watch_lag_limit else short_runs + 1
            self._stopping.wait(backoff.delay(short_runs))

    def _run_watch(self) -> float:
        """Watch until the watch ends, and return the seconds that it lasted."""
        kopf_watch = KopfWatch(
            self._api.config, self._scope.namespaces, self._informer.handle_event, self._on_kopf_list
        )
        self._kopf_watch = kopf_watch
        if self._stopping.is_set():  # `stop` may have missed this watch
            return 0.0
        self._relister.request_list(self._timings.watch_start_timeout)
        reason = kopf_watch.run()
        self._kopf_watch = None
        if not self._stopping.is_set():
            logger.warning("the watch of MasterJobs has ended and is restarted: %s", reason)
        return kopf_watch.age

    def _on_kopf_list(self) -> None:
        # There was a gap in the watch, and kopf does not report what was deleted in it.
        self._relister.request_list(self._timings.gap_relist_delay)

    def _check_watch(self) -> None:
        """Cancel the watch if it is not answered although LISTs are, or does not report what they have found."""
        kopf_watch = self._kopf_watch
        if kopf_watch is None:
            return
        is_unanswered = not kopf_watch.is_established and kopf_watch.age >= self._timings.watch_start_timeout
        if is_unanswered or (
            kopf_watch.age >= self._timings.watch_lag_limit
            and self._informer.is_watch_behind(self._timings.watch_lag_limit)
        ):
            logger.warning("the watch of MasterJobs reports nothing, although they can be listed; it is restarted")
            kopf_watch.cancel()
        elif not kopf_watch.is_established or self._informer.is_watch_behind(0.0):
            self._relister.request_list(
                min(self._timings.watch_start_timeout, self._timings.watch_lag_limit) + 1.0
            )
