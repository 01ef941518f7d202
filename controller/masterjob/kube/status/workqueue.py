"""When to look at what: names with the time they are due, taken in batches by one thread."""

import threading
from collections.abc import Iterable

from masterjob.concurrency.clock import clock


class BatchWorkqueue:
    """Names, each planned once, for the earliest of the times it was planned for."""

    def __init__(self) -> None:
        self._due_at: dict[str, float] = {}
        self._paused_until = 0.0
        self._closed = False
        self._condition = threading.Condition()

    def add_after(self, names: Iterable[str], delay: float) -> None:
        """Have the names looked at in so many seconds, if not before; nothing once it is closed."""
        due_at = clock() + delay
        with self._condition:
            for name in names if not self._closed else ():
                self._due_at[name] = min(due_at, self._due_at.get(name, due_at))
            self._condition.notify_all()

    def pause(self, seconds: float) -> None:
        """Have nothing looked at for so many seconds."""
        with self._condition:
            self._paused_until = clock() + seconds

    def close(self) -> None:
        """Have what is left looked at now, and nothing after that."""
        with self._condition:
            self._closed = True
            self._due_at = dict.fromkeys(self._due_at, 0.0)
            self._paused_until = 0.0
            self._condition.notify_all()

    def get_batch(self, limit: int, timeout: float) -> list[str] | None:
        """Wait for names that are due, ``timeout`` seconds at most; None once it is closed and none is left."""
        deadline = clock() + timeout
        with self._condition:
            while not self._closed and (wait := self._time_until_due(deadline)) > 0:
                self._condition.wait(wait)
            if self._closed and not self._due_at:
                return None
            names = [name for name, due in self._due_at.items() if due <= clock()][:limit]
            for name in names:
                del self._due_at[name]
            return names

    def _time_until_due(self, deadline: float) -> float:
        """Seconds until there is something to do, or the patience ends."""
        due_at = max(min(self._due_at.values(), default=deadline), self._paused_until)
        return min(due_at, deadline) - clock()
