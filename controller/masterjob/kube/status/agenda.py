"""When to look at what: names with the time they are due, taken in batches by one thread."""

import threading
from collections.abc import Iterable

from masterjob.election.clock import clock


class Agenda:
    """Names, each planned once, for the earliest of the times it was planned for."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._held_until = 0.0
        self._closed = False
        self._changed = threading.Condition()

    def plan(self, names: Iterable[str], wait: float) -> None:
        """Have the names looked at in so many seconds, if not before; nothing once it is closed."""
        due = clock() + wait
        with self._changed:
            for name in names if not self._closed else ():
                self._due[name] = min(due, self._due.get(name, due))
            self._changed.notify_all()

    def hold(self, seconds: float) -> None:
        """Have nothing looked at for so many seconds."""
        with self._changed:
            self._held_until = clock() + seconds

    def close(self) -> None:
        """Have what is left looked at now, and nothing after that."""
        with self._changed:
            self._closed = True
            self._due = dict.fromkeys(self._due, 0.0)
            self._held_until = 0.0
            self._changed.notify_all()

    def take(self, most: int, patience: float) -> list[str] | None:
        """Wait for names that are due, ``patience`` seconds at most; None once it is closed and none is left."""
        until = clock() + patience
        with self._changed:
            while not self._closed and (wait := self._wait(until)) > 0:
                self._changed.wait(wait)
            if self._closed and not self._due:
                return None
            names = [name for name, due in self._due.items() if due <= clock()][:most]
            for name in names:
                del self._due[name]
            return names

    def _wait(self, until: float) -> float:
        """Seconds until there is something to do, or the patience ends."""
        due = max(min(self._due.values(), default=until), self._held_until)
        return min(due, until) - clock()
