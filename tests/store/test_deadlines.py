"""The one thread that aborts calls that take too long."""

import threading

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
