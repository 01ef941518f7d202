"""The local clock."""

import time

if hasattr(time, "CLOCK_BOOTTIME"):

    def clock() -> float:
        """Return the seconds since a fixed moment, including sleep of the machine; it never goes back."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # pragma: no cover - a system without CLOCK_BOOTTIME: its monotonic clock may exclude sleep

    def clock() -> float:
        """Return the seconds since a fixed moment; it never goes back."""
        return time.monotonic()
