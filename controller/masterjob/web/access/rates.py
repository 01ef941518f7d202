"""How often something may happen: a bucket that fills at a steady rate, for each of a bounded number of keys."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from masterjob.election.clock import clock


class Rates:
    """``rate`` times a second for each key, and ``burst`` at once after a pause."""

    MOST = 10_000
    """Keys at most; the one that was used longest ago is forgotten, and with it that it was used up."""

    def __init__(self, rate: float, burst: float, now: Callable[[], float] = clock) -> None:
        self._rate = rate
        self._burst = burst
        self._now = now
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable = None) -> bool:
        """Use one up; False where there is none."""
        left = self._level(key)
        taken = left >= 1.0
        self._buckets[key] = (left - 1.0 if taken else left), self._now()
        self._buckets.move_to_end(key)
        while len(self._buckets) > self.MOST:
            self._buckets.popitem(last=False)
        return taken

    def left(self, key: Hashable = None) -> bool:
        """Whether there is one, without using it up."""
        return self._level(key) >= 1.0

    def _level(self, key: Hashable) -> float:
        level, at = self._buckets.get(key, (self._burst, self._now()))
        return min(self._burst, level + (self._now() - at) * self._rate)
