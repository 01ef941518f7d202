"""How often something may happen: a bucket that fills at a steady rate, for each of a bounded number of keys."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from masterjob.concurrency.clock import clock


class RateLimiter:
    """``rate`` times a second for each key, and ``burst`` at once after a pause."""

    MAX_KEYS = 10_000
    """Keys at most; the one that was used longest ago is forgotten, and with it that it was used up."""

    def __init__(self, rate: float, burst: float, now: Callable[[], float] = clock) -> None:
        self._rate = rate
        self._burst = burst
        self._now = now
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def try_acquire(self, key: Hashable = None) -> bool:
        """Use one up; False where there is none."""
        available = self._available_tokens(key)
        acquired = available >= 1.0
        self._buckets[key] = (available - 1.0 if acquired else available), self._now()
        self._buckets.move_to_end(key)
        while len(self._buckets) > self.MAX_KEYS:
            self._buckets.popitem(last=False)
        return acquired

    def has_capacity(self, key: Hashable = None) -> bool:
        """Whether there is one, without using it up."""
        return self._available_tokens(key) >= 1.0

    def _available_tokens(self, key: Hashable) -> float:
        tokens, updated_at = self._buckets.get(key, (self._burst, self._now()))
        return min(self._burst, tokens + (self._now() - updated_at) * self._rate)
