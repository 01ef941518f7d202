"""What a report says, for invented histories. Times are seconds after noon; the report is made at 1000."""

from datetime import UTC, datetime, timedelta

import pytest

from masterjob.availability.gaps import LockFacts, with_vacancies
from masterjob.availability.report import AvailabilityReport, build_report
from masterjob.lock_status import HistoryEvent

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW = 1000.0

Entry = tuple[float, str, int | None]


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def to_events(entries: list[Entry]) -> list[HistoryEvent]:
    return [HistoryEvent(at(time), "JOB", term, kind, "web-1", None, "") for time, kind, term in entries]


def report(
    entries: list[Entry], *, since: float = 0.0, enabled: bool = True, silent_since: float | None = None
) -> AvailabilityReport:
    silent = None if silent_since is None else at(silent_since)
    return build_report("JOB", to_events(entries), LockFacts(at(NOW), enabled, silent), at(since))


def gaps_of(result: AvailabilityReport) -> list[tuple[float, float, str]]:
    return [
        ((gap.start - NOON).total_seconds(), (gap.end - NOON).total_seconds(), gap.cause.value)
        for gap in result.gaps
    ]


FIRST_TERM: list[Entry] = [(0, "elected", 1), (0, "running", 1)]


def second_term(elected: float, running: float) -> list[Entry]:
    return [(elected, "elected", 2), (running, "running", 2)]


HISTORIES: dict[str, tuple[list[Entry], list[tuple[float, float, str]]]] = {
    "a job that runs has no gap": (FIRST_TERM, []),
    "the first start is a gap": (
        [(0, "elected", 1), (5, "running", 1)],
        [(0, 5, "enabled")],
    ),
    "a hand-over counts from the stop to the next running": (
        [*FIRST_TERM, (100, "stopped", 1), (101, "stepped down", 1), *second_term(101, 106)],
        [(100, 106, "hand_over")],
    ),
    "an outage counts from the stop, not from the answered release": (
        [
            *FIRST_TERM,
            (100, "trust ended", 1),
            (101, "stopped", 1),
            (121, "stepped down", 1),
            *second_term(121, 122),
        ],
        [(101, 122, "database_outage")],
    ),
    "an outage in which the session was evicted counts from the stop, though its end is written last": (
        [
            *FIRST_TERM,
            (90, "last heartbeat", 1),
            (130, "evicted", 1),
            *second_term(130, 131),
            (100, "trust ended", 1),
            (101, "stopped", 1),
        ],
        [(101, 131, "database_outage")],
    ),
    "a crash counts from the last heartbeat": (
        [*FIRST_TERM, (100, "last heartbeat", 1), (124, "evicted", 1), *second_term(124, 125)],
        [(100, 125, "crash")],
    ),
    "a job that died between its first heartbeat and its start has not run": (
        [
            *FIRST_TERM,
            (100, "stopped", 1),
            (100, "stepped down", 1),
            (110, "elected", 2),
            (112, "running", 2),
            (111, "last heartbeat", 2),
            (135, "evicted", 2),
            (135, "elected", 3),
            (136, "running", 3),
        ],
        [(100, 136, "hand_over")],
    ),
    "a frozen master has not run since its last heartbeat, whatever it reports later": (
        [
            *FIRST_TERM,
            (100, "last heartbeat", 1),
            (124, "evicted", 1),
            *second_term(124, 125),
            (140, "trust ended", 1),
            (141, "stopped", 1),
        ],
        [(100, 125, "crash")],
    ),
    "a job that fails after it has run": (
        [*FIRST_TERM, (100, "failed", 1), (100, "stopped", 1), (100, "stepped down", 1), *second_term(100, 105)],
        [(100, 105, "job_failed")],
    ),
    "a job that cannot be started any more": (
        [
            *FIRST_TERM,
            (100, "stopped", 1),
            (100, "stepped down", 1),
            (100, "elected", 2),
            (101, "start failed", 2),
            (101, "stopped", 2),
            (101, "stepped down", 2),
            (110, "elected", 3),
            (115, "running", 3),
        ],
        [(100, 115, "start_failed")],
    ),
    "a job that ends is started again in place": (
        [*FIRST_TERM, (100, "restarting", 1), (106, "running", 1)],
        [(100, 106, "restart")],
    ),
    "the time in which the lock is disabled does not count": (
        [
            *FIRST_TERM,
            (100, "disabled", None),
            (101, "stopped", 1),
            (101, "stepped down", 1),
            (200, "enabled", None),
            (200, "elected", 2),
            (205, "running", 2),
        ],
        [(200, 205, "enabled")],
    ),
    "a disable within a gap splits it": (
        [
            *FIRST_TERM,
            (100, "last heartbeat", 1),
            (110, "disabled", None),
            (124, "evicted", 1),
            (200, "enabled", None),
            *second_term(200, 202),
        ],
        [(100, 110, "crash"), (200, 202, "enabled")],
    ),
    "a switch that leaves the lock disabled does not enable it": (
        [
            *FIRST_TERM,
            (100, "disabled", None),
            (100, "stopped", 1),
            (100, "stepped down", 1),
            (110, "disabled", None),
            (150, "disable removed", None),
            (200, "enabled", None),
            *second_term(200, 202),
        ],
        [(200, 202, "enabled")],
    ),
    "a job that has completed is not missing": (
        [
            *FIRST_TERM,
            (100, "completed", 1),
            (300, "stopped", 1),
            (300, "stepped down", 1),
            *second_term(301, 302),
        ],
        [(300, 302, "hand_over")],
    ),
    "a lock that nobody took for long had no instance": (
        [*FIRST_TERM, (100, "stopped", 1), (100, "stepped down", 1), *second_term(500, 501)],
        [(100, 501, "no_instance")],
    ),
    "a gap that is open lasts until now": (
        [*FIRST_TERM, (990, "stopped", 1), (991, "stepped down", 1)],
        [(990, 1000, "hand_over")],
    ),
    "a term of an older release ran from its election to its end": (
        [(0, "elected", 1), (100, "stepped down", 1), (103, "elected", 2), (103, "running", 2)],
        [(100, 103, "hand_over")],
    ),
    "terms of an older release that were evicted ended with their eviction": (
        [
            (0, "elected", 1),
            (100, "evicted", 1),
            (101, "elected", 2),
            (200, "stepped down", 2),
            (203, "elected", 3),
        ],
        [(100, 101, "crash"), (200, 1000, "hand_over")],
    ),
    "a lost end of a term is known from the next election": (
        [*FIRST_TERM, *second_term(100, 104)],
        [(100, 104, "unknown")],
    ),
    "a history whose beginning was pruned begins in a run": (
        [(100, "stopped", 1), (100, "stepped down", 1), *second_term(101, 102)],
        [(100, 102, "hand_over")],
    ),
    "a history that begins with the end of a term knows its cause": (
        [(100, "stepped down", 1), *second_term(150, 151)],
        [(100, 151, "hand_over")],
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_gap_has_its_beginning_its_end_and_its_cause(name: str) -> None:
    entries, expected = HISTORIES[name]
    assert gaps_of(report(entries)) == expected


@pytest.mark.parametrize("name", HISTORIES)
def test_running_time_and_gaps_are_all_of_the_demanded_time(name: str) -> None:
    result = report(HISTORIES[name][0])
    assert result.running + sum((gap.length for gap in result.gaps), timedelta()) == result.demanded
    assert result.availability is not None
    assert 0 <= result.availability <= 1


def test_the_availability_is_the_share_of_the_enabled_time() -> None:
    result = report(
        [*FIRST_TERM, (400, "disabled", None), (400, "stopped", 1), (900, "enabled", None), *second_term(900, 950)]
    )
    assert (result.demanded, result.running) == (timedelta(seconds=500), timedelta(seconds=450))
    assert result.availability == 0.9


def test_only_the_asked_time_counts_and_a_gap_is_cut_at_its_beginning() -> None:
    entries = [
        *FIRST_TERM,
        (100, "stopped", 1),
        (100, "stepped down", 1),
        (105, "elected", 2),
        (105, "running", 2),
    ]
    result = report(entries, since=103)
    assert result.since == at(103)
    assert gaps_of(result) == [(103, 105, "hand_over")]
    assert gaps_of(report(entries, since=200)) == []


def test_a_report_says_what_it_covers_if_the_history_begins_later() -> None:
    assert report([(300, "elected", 1), (300, "running", 1)]).since == at(300)


def test_without_a_history_nothing_is_known() -> None:
    result = report([])
    assert (result.since, result.availability, result.gaps) == (None, None, ())


def test_a_lock_that_was_disabled_all_the_time_has_no_availability() -> None:
    entries: list[Entry] = [(0, "disabled", None)]
    assert report(entries, enabled=False).availability is None


def test_a_run_that_completes_at_once_has_run_since_its_election() -> None:
    result = report([(0, "elected", 1), (2, "completed", 1)])
    assert (result.availability, result.running, gaps_of(result)) == (1.0, timedelta(seconds=2), [])


def test_a_run_that_completes_at_once_after_a_failure_has_run_since_the_failure() -> None:
    entries: list[Entry] = [(0, "elected", 1), (4, "start failed", 1), (6, "completed", 1)]
    assert gaps_of(report(entries)) == [(0, 4, "start_failed")]


def test_a_disable_whose_event_was_pruned_counts_too() -> None:
    assert gaps_of(report([(0, "stopped", 1), (0, "stepped down", 1)], enabled=False)) == []


def test_a_master_that_is_silent_but_not_evicted_yet_does_not_run() -> None:
    assert gaps_of(report(FIRST_TERM, silent_since=950)) == [(950, 1000, "crash")]


def test_the_gaps_are_summed_up_by_cause() -> None:
    entries = [
        *FIRST_TERM,
        *[(100, "stopped", 1), (100, "stepped down", 1), (104, "elected", 2), (104, "running", 2)],
        *[(200, "stopped", 2), (200, "stepped down", 2), (202, "elected", 3), (202, "running", 3)],
        *[(300, "last heartbeat", 3), (324, "evicted", 3), (324, "elected", 4), (325, "running", 4)],
    ]
    crash, hand_over = report(entries).by_cause
    assert (crash.cause, crash.count, crash.total) == ("crash", 1, timedelta(seconds=25))
    assert (hand_over.count, hand_over.total, hand_over.longest) == (2, timedelta(seconds=6), timedelta(seconds=4))


@pytest.mark.parametrize("step", [-3600, -50, 50, 3600])
def test_a_step_of_the_databases_clock_makes_no_time_negative(step: float) -> None:
    entries = [
        *FIRST_TERM,
        (100 + step, "stopped", 1),
        (100 + step, "stepped down", 1),
        *second_term(101 + step, 102 + step),
    ]
    result = report(entries)
    assert all(gap.length > timedelta(0) for gap in result.gaps)
    assert result.availability is None or 0 <= result.availability <= 1


def test_an_event_in_the_future_counts_as_now() -> None:
    assert gaps_of(report([*FIRST_TERM, (2000, "stopped", 1)])) == []


# --- the history


def test_the_event_that_ends_a_gap_has_its_length_and_cause() -> None:
    entries = [*FIRST_TERM, (100, "stopped", 1), (120, "stepped down", 1), *second_term(120, 122)]
    events = with_vacancies(to_events(entries), LockFacts(at(NOW), enabled=True))
    assert [event.vacant_for for event in events if event.vacant_for] == [timedelta(seconds=22)]
    assert (events[-1].kind, events[-1].vacancy_cause) == ("running", "hand_over")


def test_a_gap_whose_beginning_is_not_known_is_not_shown() -> None:
    events = with_vacancies(to_events([*FIRST_TERM, *second_term(100, 104)]), LockFacts(at(NOW), enabled=True))
    assert all(event.vacant_for is None for event in events)
