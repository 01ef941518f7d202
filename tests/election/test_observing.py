"""Observers see every step in its order, and can hold up or break nothing."""

import threading

from masterjob.election.machine.events import Event, Started, Stopped, Tick, Withdraw
from masterjob.election.observing import Gallery, Seen
from masterjob.election.values import Term

TERM = Term("LOCK", 1)
PATIENCE = 10.0


def test_steps_are_seen_in_their_order() -> None:
    seen: list[Seen] = []
    gallery = Gallery("me", [seen.append])
    events: list[Event] = [Started(TERM), Withdraw("LOCK", "why"), Stopped(TERM)]
    for at, event in enumerate(events):
        gallery.show(float(at), event, [])
    gallery.close(PATIENCE)
    assert [(each.instance, each.at) for each in seen] == [("me", 0.0), ("me", 1.0), ("me", 2.0)]
    assert [type(each.event) for each in seen] == [Started, Withdraw, Stopped]


def test_time_alone_is_nothing_to_see() -> None:
    seen: list[Seen] = []
    gallery = Gallery("me", [seen.append])
    gallery.show(0.0, Tick(), [])
    gallery.close(PATIENCE)
    assert seen == []


def test_an_observer_that_fails_or_hangs_costs_the_others_and_the_election_nothing() -> None:
    hung, go_on, seen = threading.Event(), threading.Event(), list[Seen]()

    def failing(_: Seen) -> None:
        hung.set()
        go_on.wait(PATIENCE)
        raise RuntimeError("broken")

    gallery = Gallery("me", [failing, seen.append])
    gallery.show(0.0, Started(TERM), [])
    assert hung.wait(PATIENCE)
    gallery.show(1.0, Stopped(TERM), [])  # returns at once
    go_on.set()
    gallery.close(PATIENCE)
    assert len(seen) == 2


def test_without_observers_there_is_no_thread() -> None:
    before = threading.active_count()
    gallery = Gallery("me", [])
    gallery.show(0.0, Started(TERM), [])
    assert threading.active_count() == before
    gallery.close(PATIENCE)
