"""The local clock: seconds that never go back, and that also pass while the machine sleeps (design 3, rule 2)."""

import time

if hasattr(time, "CLOCK_BOOTTIME"):

    def clock() -> float:
        """Return the seconds since some fixed moment, sleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # pragma: no cover - systems without CLOCK_BOOTTIME, whose monotonic clock is the best there is

    def clock() -> float:
        """Return the seconds since some fixed moment."""
        return time.monotonic()
