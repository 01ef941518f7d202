"""Where the clocks begin: what a number is follows from its size."""

LOCAL_CLOCK_START = float(2**20)
"""Seconds. Durations are far smaller, and the other clocks are far larger."""

RUNNING_TIME_START = float(2**24)
"""Where the clock for timeouts begins, which stops while a process is frozen."""

DATABASE_CLOCK_START = 1.7e9
