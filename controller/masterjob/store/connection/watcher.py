"""One thread that watches all calls to databases, and aborts those that take too long.

A thread for each call would cost more than most calls do; and at the interpreter's end, when locks are
released, Python 3.12 and later start no threads any more.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator


class Watcher:
    """Runs its thread from the first watch on; a fork, which has no such thread, starts another."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._watched: dict[int, tuple[float, Callable[[], None]]] = {}
        self._numbers = itertools.count()
        self._wakes_at = float("inf")
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watching(self, seconds: float, abort: Callable[[], None]) -> Iterator[None]:
        """Call ``abort`` if what is inside takes longer than so many seconds."""
        number, due = next(self._numbers), time.monotonic() + seconds
        with self._condition:
            self._watched[number] = (due, abort)
            self._keep_running()
            if due < self._wakes_at:
                self._condition.notify()
        try:
            yield
        finally:
            with self._condition:
                self._watched.pop(number, None)

    def _keep_running(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name="masterjob watcher", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread any more: the drivers' own timeouts have to do
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            for abort in self._overdue():
                abort()

    def _overdue(self) -> list[Callable[[], None]]:
        with self._condition:
            now = time.monotonic()
            late = [number for number, (due, _) in self._watched.items() if due <= now]
            if late:
                return [self._watched.pop(number)[1] for number in late]
            self._wakes_at = min((due for due, _ in self._watched.values()), default=now + 3600.0)
            self._condition.wait(self._wakes_at - now)
            return []


watcher = Watcher()
"""The process's own."""
