"""The one thread that watches all calls."""

import threading

from masterjob.store.connection.watcher import Watcher


def test_what_takes_too_long_is_aborted() -> None:
    aborted = threading.Event()
    with Watcher().watching(0.01, aborted.set):
        assert aborted.wait(10)


def test_what_ends_in_time_is_left_alone_and_the_next_is_watched() -> None:
    watcher, wrong, right = Watcher(), threading.Event(), threading.Event()
    with watcher.watching(0.05, wrong.set):
        pass
    with watcher.watching(0.2, right.set):
        assert right.wait(10)
    assert not wrong.is_set()


def test_an_earlier_end_is_not_missed_while_a_later_one_is_awaited() -> None:
    watcher, late, early = Watcher(), threading.Event(), threading.Event()
    with watcher.watching(3600.0, late.set), watcher.watching(0.01, early.set):
        assert early.wait(10)
    assert not late.is_set()
