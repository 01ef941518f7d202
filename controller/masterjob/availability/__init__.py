"""For which share of the time a job ran, and why it did not, computed from the history of its lock.

A *gap* is a time in which the lock was enabled and its job did not run. It begins when the job has stopped, or
with the last sign of life of a master that died; it ends when the job is Running again. The time in which the lock
is disabled, or its job has completed, counts neither as available nor as a gap.

    intervals.py  sets of intervals of time
    runs.py       when the job ran, had completed, or was disabled; and why each run ended
    gaps.py       the gaps, each with its cause
    report.py     the report of one lock: the share, and the gaps by cause

What must not be here: anything that reads a database or a clock.
"""
