"""Names to be worked on, again and again until it is done: each by one thread at a time, failed ones later.

What fails or takes long holds up nothing but itself, as far as there are threads.
"""

import heapq
import logging
import threading
from collections import Counter
from collections.abc import Callable

from masterjob.election.clock import clock

_log = logging.getLogger("masterjob")

_LEAST_PAUSE, _MOST_PAUSE = 0.2, 5.0


class Workqueue:
    """Calls ``work`` for every name that is added; where that returns False, once more after a pause.

    A name that is added while it waits is worked on once; one that is added while it is worked on, once more.
    """

    def __init__(self, work: Callable[[str], bool], threads: int) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._busy: set[str] = set()
        self._failures: Counter[str] = Counter()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name="masterjob controller", daemon=True) for _ in range(threads)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def add(self, name: str, wait: float = 0.0) -> None:
        """Have the name worked on in so many seconds, if not before."""
        with self._changed:
            self._failures.pop(name, None)
            self._plan(name, clock() + wait)

    def wait_done(self, timeout: float) -> bool:
        """Wait until nothing is left to do or to do again; False if there still is."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._due or self._busy), timeout)

    def close(self, timeout: float) -> None:
        """Begin nothing any more, and wait so many seconds at most for what was begun."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        until = clock() + timeout
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, until - clock()))

    def _plan(self, name: str, due: float) -> None:
        if due < self._due.get(name, float("inf")):
            self._due[name] = due
            heapq.heappush(self._heap, (due, name))
            self._changed.notify_all()

    def _run(self) -> None:
        while (name := self._next()) is not None:
            try:
                done = self._work(name)
            except Exception:
                _log.exception("a defect while %s was worked on; it is tried again", name)
                done = False
            self._finish(name, done)

    def _next(self) -> str | None:
        with self._changed:
            while not self._closed:
                name, wait = self._first()
                if name is not None:
                    del self._due[name]
                    self._busy.add(name)
                    return name
                self._changed.wait(wait)
            return None

    def _first(self) -> tuple[str | None, float | None]:
        """Return what is due, or how long to wait; what is being worked on comes back when that is finished."""
        while self._heap:
            due, name = self._heap[0]
            if name not in self._busy and self._due.get(name) == due:
                if due > clock():
                    return None, due - clock()
                heapq.heappop(self._heap)
                return name, 0.0
            heapq.heappop(self._heap)
        return None, None

    def _finish(self, name: str, done: bool) -> None:
        with self._changed:
            self._busy.discard(name)
            if name in self._due:
                heapq.heappush(self._heap, (self._due[name], name))
            if done:
                self._failures.pop(name, None)
            else:
                pause = min(_LEAST_PAUSE * 2 ** min(self._failures[name], 10), _MOST_PAUSE)
                self._failures[name] += 1
                self._plan(name, clock() + pause)
            self._changed.notify_all()
