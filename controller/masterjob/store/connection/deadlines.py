"""The one thread that aborts calls to databases that take too long.

A thread for each call would cost more than most calls. And when the interpreter exits and the locks are
released, Python 3.12 and later start no new threads.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator


class DeadlineMonitor:
    """A monitor of calls. Its thread starts with the first call, and again in a forked child."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._pending: dict[int, tuple[float, Callable[[], None]]] = {}
        self._call_ids = itertools.count()
        self._next_check_at = float("inf")
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def abort_after(self, timeout: float, abort: Callable[[], None]) -> Iterator[None]:
        """Call ``abort`` if the block takes longer than ``timeout`` seconds."""
        call_id, deadline = next(self._call_ids), time.monotonic() + timeout
        with self._condition:
            self._pending[call_id] = (deadline, abort)
            self._ensure_thread()
            if deadline < self._next_check_at:
                self._condition.notify()
        try:
            yield
        finally:
            with self._condition:
                self._pending.pop(call_id, None)

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name="masterjob-deadlines", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread can be started: the drivers' timeouts remain
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            for abort in self._wait_for_overdue():
                abort()

    def _wait_for_overdue(self) -> list[Callable[[], None]]:
        with self._condition:
            now = time.monotonic()
            overdue = [call_id for call_id, (deadline, _) in self._pending.items() if deadline <= now]
            if overdue:
                return [self._pending.pop(number)[1] for number in overdue]
            self._next_check_at = min((due for due, _ in self._pending.values()), default=now + 3600.0)
            self._condition.wait(self._next_check_at - now)
            return []


deadline_monitor = DeadlineMonitor()
"""The monitor of this process."""
