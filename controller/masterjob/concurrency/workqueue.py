"""Names to be worked on, again and again until it is done: each by one thread at a time, failed ones later.

What fails or takes long holds up nothing but itself, as far as there are threads.
"""

import heapq
import logging
import threading
from collections import Counter
from collections.abc import Callable

from masterjob.concurrency.clock import clock

logger = logging.getLogger("masterjob")

_MIN_BACKOFF, _MAX_BACKOFF = 0.2, 5.0


class Workqueue:
    """Calls ``handler`` for every name that is added; where that returns False, once more after a pause.

    A name that is added while it waits is worked on once; one that is added while it is worked on, once more.
    """

    def __init__(self, handler: Callable[[str], bool], threads: int) -> None:
        self._handler = handler
        self._changed = threading.Condition()
        self._due_at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._in_flight: set[str] = set()
        self._failures: Counter[str] = Counter()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name="masterjob controller", daemon=True) for _ in range(threads)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def add(self, key: str, delay: float = 0.0) -> None:
        """Have the name worked on in so many seconds, if not before."""
        with self._changed:
            self._failures.pop(key, None)
            self._schedule(key, clock() + delay)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is left to do or to do again; False if there still is."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._due_at or self._in_flight), timeout)

    def close(self, timeout: float) -> None:
        """Begin nothing any more, and wait so many seconds at most for what was begun."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline = clock() + timeout
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - clock()))

    def _schedule(self, key: str, due_at: float) -> None:
        if due_at < self._due_at.get(key, float("inf")):
            self._due_at[key] = due_at
            heapq.heappush(self._heap, (due_at, key))
            self._changed.notify_all()

    def _run(self) -> None:
        while (key := self._wait_for_next()) is not None:
            try:
                done = self._handler(key)
            except Exception:
                logger.exception("a defect while %s was worked on; it is tried again", key)
                done = False
            self._finish(key, done)

    def _wait_for_next(self) -> str | None:
        with self._changed:
            while not self._closed:
                key, timeout = self._pop_due()
                if key is not None:
                    del self._due_at[key]
                    self._in_flight.add(key)
                    return key
                self._changed.wait(timeout)
            return None

    def _pop_due(self) -> tuple[str | None, float | None]:
        """Return what is due, or how long to wait; what is being worked on comes back when that is finished."""
        while self._heap:
            due_at, key = self._heap[0]
            if key not in self._in_flight and self._due_at.get(key) == due_at:
                if due_at > clock():
                    return None, due_at - clock()
                heapq.heappop(self._heap)
                return key, 0.0
            heapq.heappop(self._heap)
        return None, None

    def _finish(self, key: str, done: bool) -> None:
        with self._changed:
            self._in_flight.discard(key)
            if key in self._due_at:
                heapq.heappush(self._heap, (self._due_at[key], key))
            if done:
                self._failures.pop(key, None)
            else:
                delay = min(_MIN_BACKOFF * 2 ** min(self._failures[key], 10), _MAX_BACKOFF)
                self._failures[key] += 1
                self._schedule(key, clock() + delay)
            self._changed.notify_all()
