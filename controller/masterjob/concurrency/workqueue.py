"""A queue of keys to work on, used in one of two ways.

start, close       worker threads call a handler for each key, and retry a failed one after a back-off
get_batch, drain   one consumer takes all that is due, in batches
"""

import heapq
import logging
import threading
from collections import Counter
from collections.abc import Callable

from masterjob.concurrency.backoff import Backoff
from masterjob.concurrency.clock import clock

logger = logging.getLogger("masterjob")

_RETRY_BACKOFF = Backoff(initial=0.2, maximum=5.0)
_NO_TIMEOUT = 1e9


class Workqueue:
    """Keys, each queued once, for the earliest of the times it was added for.

    A key that is added while it is in flight is handed out again afterwards, never twice at once. All methods may
    be called from any thread.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due_at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        """May hold outdated entries; an entry counts only if ``_due_at`` has the same time."""
        self._in_flight: set[str] = set()
        self._paused_until = 0.0
        self._closed = False
        self._threads: list[threading.Thread] = []
        self._failures: Counter[str] = Counter()

    def add(self, *keys: str, delay: float = 0.0) -> None:
        """Schedule the keys in ``delay`` seconds, or keep an earlier time; do nothing once closed."""
        with self._changed:
            for key in keys:
                self._failures.pop(key, None)
                self._schedule(key, clock() + delay)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no key is queued or in flight; return False if ``timeout`` seconds pass before that."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._due_at or self._in_flight), timeout)

    # --- worker threads

    def start(self, handler: Callable[[str], bool], threads: int) -> None:
        """Start threads that call ``handler`` with each key; if it returns False or raises, the key is retried."""
        self._threads = [
            threading.Thread(target=self._run, args=(handler,), name="masterjob-controller", daemon=True)
            for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def close(self, timeout: float) -> None:
        """Discard what is queued, and wait up to ``timeout`` seconds for the handlers that are running."""
        with self._changed:
            self._closed = True
            self._due_at.clear()
            self._changed.notify_all()
        deadline = clock() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - clock()))

    def _run(self, handler: Callable[[str], bool]) -> None:
        while batch := self.get_batch(limit=1):
            (key,) = batch
            try:
                succeeded = handler(key)
            except Exception:
                logger.exception("a defect in the handling of %s; it is retried", key)
                succeeded = False
            self._finish(key, succeeded=succeeded)

    def _finish(self, key: str, *, succeeded: bool) -> None:
        with self._changed:
            if succeeded:
                self._failures.pop(key, None)
            else:
                self._schedule(key, clock() + _RETRY_BACKOFF.delay(self._failures[key]))
                self._failures[key] += 1
            self.done(key)

    # --- one consumer

    def get_batch(self, limit: int, timeout: float = _NO_TIMEOUT) -> list[str] | None:
        """Wait up to ``timeout`` seconds for keys that are due, and return up to ``limit`` of them, now in flight.

        Returns None once the queue is closed and empty. The consumer calls `done` for each key.
        """
        deadline = clock() + timeout
        with self._changed:
            while not (batch := self._pop_due(limit)) and not self._closed:
                if (time_left := deadline - clock()) <= 0:
                    return []
                next_due_at = max(self._heap[0][0], self._paused_until) if self._heap else deadline
                self._changed.wait(max(0.0, min(next_due_at - clock(), time_left)))
            return batch or None

    def done(self, *keys: str) -> None:
        """Mark the keys as no longer in flight."""
        with self._changed:
            for key in keys:
                self._in_flight.discard(key)
                if key in self._due_at:
                    heapq.heappush(self._heap, (self._due_at[key], key))
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Hand out nothing for that time, unless the queue is drained."""
        with self._changed:
            self._paused_until = clock() + seconds

    def drain(self) -> None:
        """Make everything due now, and accept nothing more."""
        with self._changed:
            self._closed = True
            self._due_at = dict.fromkeys(self._due_at, 0.0)
            self._heap = [(0.0, key) for key in self._due_at]
            self._changed.notify_all()

    def _schedule(self, key: str, due_at: float) -> None:
        if not self._closed and due_at < self._due_at.get(key, float("inf")):
            self._due_at[key] = due_at
            heapq.heappush(self._heap, (due_at, key))
            self._changed.notify_all()

    def _pop_due(self, limit: int) -> list[str]:
        batch: list[str] = []
        if not self._closed and clock() < self._paused_until:
            return batch
        while self._heap and self._heap[0][0] <= clock() and len(batch) < limit:
            due_at, key = heapq.heappop(self._heap)
            if self._due_at.get(key) == due_at and key not in self._in_flight:  # else `done` puts it back
                del self._due_at[key]
                self._in_flight.add(key)
                batch.append(key)
        return batch
