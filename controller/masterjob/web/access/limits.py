"""Bounded state by key: how often something may happen, and values with a time to live."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from masterjob.concurrency.clock import clock

T = TypeVar("T")


class RateLimiter:
    """A token bucket for each key: ``rate`` times a second, and ``burst`` times at once after a pause."""

    MAX_KEYS = 10_000
    """The most keys that are kept; the least recently used one is dropped, with its spent capacity."""

    def __init__(self, rate: float, burst: float, now: Callable[[], float] = clock) -> None:
        self._rate = rate
        self._burst = burst
        self._now = now
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def try_acquire(self, key: Hashable = None) -> bool:
        """Take one from the bucket; return False if it is empty."""
        available = self._available(key)
        acquired = available >= 1.0
        self._buckets[key] = (available - 1.0 if acquired else available), self._now()
        self._buckets.move_to_end(key)
        while len(self._buckets) > self.MAX_KEYS:
            self._buckets.popitem(last=False)
        return acquired

    def has_capacity(self, key: Hashable = None) -> bool:
        """Return whether the bucket holds one, without taking it."""
        return self._available(key) >= 1.0

    def _available(self, key: Hashable) -> float:
        available, updated_at = self._buckets.get(key, (self._burst, self._now()))
        return min(self._burst, available + (self._now() - updated_at) * self._rate)


class TtlCache(Generic[T]):
    """Values that expire after ``ttl`` seconds; 0 keeps none. The oldest is dropped first."""

    MAX_ENTRIES = 10_000

    def __init__(self, ttl: float, now: Callable[[], float]) -> None:
        self._ttl = ttl
        self._now = now
        self._entries: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()

    def get(self, key: Hashable) -> tuple[T] | None:
        """Return the value in a tuple, or None."""
        entry = self._entries.get(key)
        return None if entry is None or self._now() - entry[0] >= self._ttl else (entry[1],)

    def insert(self, key: Hashable, value: T) -> None:
        """Keep a value."""
        if not self._ttl:
            return
        self._entries.pop(key, None)
        self._entries[key] = self._now(), value
        while len(self._entries) > self.MAX_ENTRIES:
            self._entries.popitem(last=False)
