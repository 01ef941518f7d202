"""Calls after a delay."""

import logging
import threading

import pytest

from masterjob.concurrency import timers
from masterjob.concurrency.timers import Timers
from tests.timeouts import WAIT_TIMEOUT


def test_functions_are_called_in_the_order_of_their_times() -> None:
    calls, done, later = list[str](), threading.Event(), Timers()
    later.call_later(0.1, done.set)
    later.call_later(0.1, lambda: calls.append("third"))
    later.call_later(0.05, lambda: calls.append("second"))
    later.call_later(0.0, lambda: calls.append("first"))
    assert done.wait(WAIT_TIMEOUT)
    assert calls[:2] == ["first", "second"]


def test_a_function_is_not_called_early(monkeypatch: pytest.MonkeyPatch) -> None:
    called, later = list[str](), Timers()
    later.call_later(3600.0, lambda: called.append("too early"))
    done = threading.Event()
    later.call_later(0.01, done.set)
    assert done.wait(WAIT_TIMEOUT)
    assert called == []


def test_a_function_that_fails_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    done, later = threading.Event(), Timers()
    with caplog.at_level(logging.ERROR, logger="masterjob"):
        later.call_later(0.0, lambda: 1 / 0)  # type: ignore[arg-type]
        later.call_later(0.0, done.set)
        assert done.wait(WAIT_TIMEOUT)
    assert "a function that was called after a delay failed" in caplog.text


def test_an_idle_thread_ends_and_a_new_one_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "_IDLE_TIMEOUT", 0.01)
    later = Timers()
    threads = list[threading.Thread]()
    for _ in range(2):
        done = threading.Event()
        later.call_later(0.0, lambda: threads.append(threading.current_thread()))
        later.call_later(0.0, done.set)
        assert done.wait(WAIT_TIMEOUT)
        threads[-1].join(WAIT_TIMEOUT)
        assert not threads[-1].is_alive()
    assert threads[0] is not threads[1]
