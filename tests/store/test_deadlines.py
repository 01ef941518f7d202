"""The one thread that aborts calls that take too long."""

import threading
import time

from masterjob.concurrency.clock import RunningClock
from masterjob.store.connection.deadlines import DeadlineMonitor
from tests.timeouts import WAIT_TIMEOUT


def test_what_takes_too_long_is_aborted() -> None:
    aborted = threading.Event()
    with DeadlineMonitor().abort_after(0.01, aborted.set):
        assert aborted.wait(WAIT_TIMEOUT)


def test_what_ends_in_time_is_not_aborted_and_the_next_is_watched() -> None:
    monitor, wrong, right = DeadlineMonitor(), threading.Event(), threading.Event()
    with monitor.abort_after(2.0, wrong.set):
        pass
    with monitor.abort_after(2.5, right.set):
        assert right.wait(WAIT_TIMEOUT)
    assert not wrong.is_set()


def test_an_earlier_end_is_not_missed_while_a_later_one_is_awaited() -> None:
    monitor, late, early = DeadlineMonitor(), threading.Event(), threading.Event()
    with monitor.abort_after(3600.0, late.set), monitor.abort_after(0.01, early.set):
        assert early.wait(WAIT_TIMEOUT)
    assert not late.is_set()


class FreezableTime:
    """A time that a test can advance as a freeze does, and whose readings it can wait for."""

    def __init__(self) -> None:
        self._frozen_for = 0.0
        self._read_again = threading.Semaphore(0)

    def __call__(self) -> float:
        self._read_again.release()
        return time.monotonic() + self._frozen_for

    def freeze(self, seconds: float) -> None:
        """Advance it at once, and wait until it has been read twice."""
        self._frozen_for += seconds
        while self._read_again.acquire(blocking=False):
            pass
        for _ in range(2):
            assert self._read_again.acquire(timeout=WAIT_TIMEOUT)


def test_the_time_for_which_the_process_is_frozen_does_not_count() -> None:
    read, aborted = FreezableTime(), threading.Event()
    with DeadlineMonitor(RunningClock(read)).abort_after(WAIT_TIMEOUT, aborted.set):
        read.freeze(2 * WAIT_TIMEOUT)
        assert not aborted.is_set()
