"""The clock for timeouts."""

import time

import pytest

from masterjob.concurrency.clock import MAX_GAP, RunningClock, clock


def test_the_running_clock_advances_with_the_clock_that_it_reads() -> None:
    times = iter([100.0, 100.1, 100.1, 100.3])
    clock = RunningClock(lambda: next(times))
    assert [clock(), clock(), clock()] == pytest.approx([0.1, 0.1, 0.3])


def test_of_a_freeze_the_running_clock_counts_one_gap() -> None:
    times = iter([100.0, 100.1, 160.0, 160.1])
    clock = RunningClock(lambda: next(times))
    assert [clock(), clock(), clock()] == pytest.approx([0.1, 0.1 + MAX_GAP, 0.2 + MAX_GAP])


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no such clock")
def test_the_local_clock_is_the_one_that_runs_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = {time.CLOCK_BOOTTIME: 7.0, time.CLOCK_MONOTONIC: 3.0}
    monkeypatch.setattr(time, "clock_gettime", readings.__getitem__)
    assert clock() == 7.0
