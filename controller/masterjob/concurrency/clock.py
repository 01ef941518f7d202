"""The local clock, and a clock for timeouts."""

import time
from collections.abc import Callable

if hasattr(time, "CLOCK_BOOTTIME"):

    def clock() -> float:
        """Return the seconds since a fixed moment, including sleep of the machine; it never goes back."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # pragma: no cover - a system without CLOCK_BOOTTIME: its monotonic clock may exclude sleep

    def clock() -> float:
        """Return the seconds since a fixed moment; it never goes back."""
        return time.monotonic()


MAX_GAP = 0.25
"""The longest time between two readings of a `RunningClock` that counts in full, in seconds."""


class RunningClock:
    """The seconds for which this process ran, for timeouts: while it is frozen, it does not wait for an answer.

    A gap between two readings counts as `MAX_GAP` at most, so whoever waits for a time has to read it as often.
    """

    def __init__(self, read: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._last = read()
        self._seconds = 0.0

    def __call__(self) -> float:
        """Return the seconds since this clock was made, without long gaps."""
        now = self._read()
        self._seconds += min(now - self._last, MAX_GAP)
        self._last = now
        return self._seconds


def format_age(seconds: float) -> str:
    """Return a time span in one or two units: 7s, 3m12s, 5h7m, 3d4h."""
    whole = max(0, int(seconds))
    for size, name, smaller, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size}{name}" + (f"{rest}{part}" if rest else "")
    return f"{whole}s"
