"""The order in which events are shown, for invented histories of one lock. Times are seconds after noon."""

from datetime import UTC, datetime, timedelta

from masterjob.availability.ordering import in_causal_order
from masterjob.lock_status import HistoryEvent

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

Entry = tuple[float, str, int | None, str]


def order(*entries: Entry) -> list[tuple[float, str, int | None]]:
    events = [
        HistoryEvent(NOON + timedelta(seconds=seconds), "JOB", term, kind, instance, None, "")
        for seconds, kind, term, instance in entries
    ]
    return [((event.at - NOON).total_seconds(), event.kind, event.term) for event in in_causal_order(events)]


def test_a_term_begins_with_its_election_whichever_was_written_first() -> None:
    assert order((10.01, "running", 1, "web-1"), (10.02, "elected", 1, "web-1")) == [
        (10.01, "elected", 1),
        (10.01, "running", 1),
    ]


def test_a_term_ends_with_its_release_whichever_was_written_first() -> None:
    entries: list[Entry] = [(0, "elected", 1, "web-1"), (20.0, "stepped down", 1, "web-1")]
    assert order(*entries, (20.02, "stopped", 1, "web-1")) == [
        (0, "elected", 1),
        (20.02, "stopped", 1),
        (20.02, "stepped down", 1),
    ]


def test_what_is_in_order_stays_as_it_is() -> None:
    entries: list[Entry] = [
        (0, "disabled", None, ""),
        (5, "enabled", None, ""),
        (6, "elected", 1, "web-1"),
        (7, "running", 1, "web-1"),
        (8, "stopped", 1, "web-1"),
        (9, "stepped down", 1, "web-1"),
    ]
    assert order(*entries) == [entry[:3] for entry in entries]


def test_events_of_other_terms_and_of_other_instances_move_nothing() -> None:
    entries: list[Entry] = [
        (0, "last heartbeat", 2, "web-3"),
        (1, "running", 1, "web-1"),
        (2, "elected", 2, "web-2"),
        (3, "stepped down", 2, "web-2"),
        (4, "evicted", 2, "web-3"),
    ]
    assert order(*entries) == [entry[:3] for entry in entries]
