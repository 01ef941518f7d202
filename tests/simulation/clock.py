"""Virtual time, and the clocks in it: one for each instance, one for each database server."""

import heapq
from collections.abc import Callable

EPOCH_MS = 1_700_000_000_000


class Scheduler:
    """Calls what is due, in the order of time; equal times in the order of scheduling."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[..., object], tuple[object, ...]]] = []
        self._sequence = 0
        self._finished = False

    def at(self, time: float, callback: Callable[..., object], *args: object) -> None:
        """Call at that time; now if it has passed."""
        self._sequence += 1
        heapq.heappush(self._queue, (max(time, self.now), self._sequence, callback, args))

    def after(self, delay: float, callback: Callable[..., object], *args: object) -> None:
        """Call after that many seconds."""
        self._sequence += 1
        heapq.heappush(self._queue, (self.now + delay, self._sequence, callback, args))

    @property
    def calls(self) -> int:
        """How many calls were scheduled."""
        return self._sequence

    def run(self, until: float) -> None:
        """Run until that time, or until `finish`."""
        queue, pop = self._queue, heapq.heappop
        while queue and queue[0][0] <= until and not self._finished:
            self.now, _, callback, args = pop(queue)
            callback(*args)
        if not self._finished:
            self.now = until

    def finish(self) -> None:
        """End `run` after the current call."""
        self._finished = True


class LocalClock:
    """The clock of one instance: it never steps, but begins anywhere and runs at its own rate."""

    def __init__(self, rate: float, offset: float) -> None:
        self.rate = rate
        self.offset = offset

    def local(self, time: float) -> float:
        """Return what this clock shows at a time of the world."""
        return self.offset + time * self.rate

    def world(self, local: float) -> float:
        """Return when this clock shows ``local``, as a time of the world."""
        return (local - self.offset) / self.rate


class DatabaseClock:
    """The clock of a database server, in epoch milliseconds. It may step."""

    def __init__(self, scheduler: Scheduler, offset: float = 0.0) -> None:
        self._scheduler = scheduler
        self.offset = offset
        self.skew = 0.0
        """By how much the node that executes the current call is ahead."""
        self.stepped_at = float("-inf")

    def __call__(self) -> int:
        """Return the clock's time."""
        return EPOCH_MS + int((self._scheduler.now + self.offset + self.skew) * 1000)

    def step(self, seconds: float) -> None:
        """Step by that much, in either direction."""
        self.offset += seconds
        self.stepped_at = self._scheduler.now

    def advance_past(self, number: int) -> None:
        """Step forward if this clock is behind a term that was issued: what a promoted replica must fulfil."""
        behind = number + 1 - self()
        if behind > 0:
            self.step(behind / 1000)
