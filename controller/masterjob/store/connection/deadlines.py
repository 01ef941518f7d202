"""The one thread that aborts calls to databases that take too long.

A thread for each call would cost more than most calls. And when the interpreter exits and the locks are
released, Python 3.12 and later start no new threads.

The time for which the process is frozen does not count: the answer may be waiting in the socket.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator

from masterjob.concurrency.clock import MAX_GAP, RunningClock

NEVER = float("inf")


class DeadlineMonitor:
    """A monitor of calls. Its thread starts with the first call, and again in a forked child."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or RunningClock()
        """Read only while the condition is held."""
        self._condition = threading.Condition()
        self._pending: dict[int, tuple[float, Callable[[], None]]] = {}
        self._call_ids = itertools.count()
        self._next_check_at = NEVER
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def abort_after(self, timeout: float, abort: Callable[[], None]) -> Iterator[None]:
        """Call ``abort`` if the block takes longer than ``timeout`` seconds."""
        call_id = next(self._call_ids)
        with self._condition:
            deadline = self._clock() + timeout
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
            now = self._clock()
            overdue = [call_id for call_id, (deadline, _) in self._pending.items() if deadline <= now]
            if overdue:
                return [self._pending.pop(number)[1] for number in overdue]
            first = min((deadline for deadline, _ in self._pending.values()), default=NEVER)
            self._next_check_at = NEVER if first == NEVER else min(first, now + MAX_GAP)
            self._condition.wait(None if first == NEVER else self._next_check_at - now)
            return []


deadline_monitor = DeadlineMonitor()
"""The monitor of this process."""
