"""Observers see every step in its order, and can hold up or break nothing."""

import threading

from masterjob.election.core.events import CoreEvent, JobStarted, JobStopped, Tick, Withdraw
from masterjob.election.observers import ObserverThread, Step
from masterjob.election.values import Term
from tests.timeouts import WAIT_TIMEOUT

TERM = Term("LOCK", 1)


def test_steps_are_published_in_their_order() -> None:
    steps: list[Step] = []
    observer_thread = ObserverThread("me", [steps.append])
    events: list[CoreEvent] = [JobStarted(TERM), Withdraw("LOCK", "why"), JobStopped(TERM)]
    for at, event in enumerate(events):
        observer_thread.publish(float(at), event, [])
    observer_thread.close(WAIT_TIMEOUT)
    assert [(each.instance, each.time) for each in steps] == [("me", 0.0), ("me", 1.0), ("me", 2.0)]
    assert [type(each.event) for each in steps] == [JobStarted, Withdraw, JobStopped]


def test_a_tick_without_actions_is_not_published() -> None:
    steps: list[Step] = []
    observer_thread = ObserverThread("me", [steps.append])
    observer_thread.publish(0.0, Tick(), [])
    observer_thread.close(WAIT_TIMEOUT)
    assert steps == []


def test_an_observer_that_fails_or_hangs_affects_neither_the_others_nor_the_election() -> None:
    hung, go_on, steps = threading.Event(), threading.Event(), list[Step]()

    def failing(_: Step) -> None:
        hung.set()
        go_on.wait(WAIT_TIMEOUT)
        raise RuntimeError("broken")

    observer_thread = ObserverThread("me", [failing, steps.append])
    observer_thread.publish(0.0, JobStarted(TERM), [])
    assert hung.wait(WAIT_TIMEOUT)
    observer_thread.publish(1.0, JobStopped(TERM), [])  # returns at once
    go_on.set()
    observer_thread.close(WAIT_TIMEOUT)
    assert len(steps) == 2


def test_without_observers_there_is_no_thread() -> None:
    before = threading.active_count()
    observer_thread = ObserverThread("me", [])
    observer_thread.publish(0.0, JobStarted(TERM), [])
    assert threading.active_count() == before
    observer_thread.close(WAIT_TIMEOUT)
