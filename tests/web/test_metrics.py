"""What is counted, by the steps of an election as an observer sees them."""

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from masterjob.election.clock import clock
from masterjob.election.machine.actions import Abandon, Action, Say, StartJob, StopJob
from masterjob.election.machine.commands import (
    Evict,
    LookAtSessions,
    LookForFree,
    OwnLane,
    ReadHeld,
    Renew,
    TakeInventory,
)
from masterjob.election.machine.events import (
    Declare,
    Event,
    Failure,
    Leave,
    Reply,
    Started,
    StartFailed,
    StepDown,
    Tick,
    Withdraw,
    Woken,
)
from masterjob.election.machine.watch import Watched
from masterjob.election.observing import Seen
from masterjob.election.timing import Timing
from masterjob.election.values import Census, Entry, Flagged, Inventory, Kind, SessionSeen, Term, Vacancies
from masterjob.web.metrics.labels import OTHER, Labels
from masterjob.web.metrics.observer import Metrics
from masterjob.web.metrics.reasons import reason_of
from tests.web.conftest import LOCK, Patient, Serve

TERM = Term(LOCK, 7)
RENEW = Renew(10.0, OwnLane("lane", 1.0), "session", "me", Inventory(0, 0))
LOOK = LookForFree(10.0, take_the_rest=False)


def vacancies(*names: str) -> Vacancies:
    return Vacancies(names, enabled=1, instances=1, due_ms=None, locks=1)


def see(metrics: Metrics, event: Event, *actions: Action, at: float = 10.0) -> None:
    metrics.see(Seen("me", at, event, actions))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    see(metrics, Declare(LOCK, Timing.of()))
    return metrics


def test_a_lock_that_is_declared_counts_from_zero(metrics: Metrics) -> None:
    assert value(metrics, "masterjob_is_master", lock=LOCK) == 0
    assert value(metrics, "masterjob_job_starts_total", lock=LOCK) == 0


def test_who_serves_is_master_until_the_stop_is_ordered(metrics: Metrics) -> None:
    elected = Say(Entry(LOCK, 7, Kind.ELECTED, "me became master"))
    see(metrics, Reply(LOOK, ()), StartJob(TERM), elected)
    assert value(metrics, "masterjob_is_master", lock=LOCK) == 1
    assert value(metrics, "masterjob_transitions_total", lock=LOCK, kind="elected") == 1
    see(metrics, StepDown(LOCK, "asked to"), StopJob(TERM, "asked to"))
    assert value(metrics, "masterjob_is_master", lock=LOCK) == 0
    assert value(metrics, "masterjob_job_stops_total", lock=LOCK, reason="asked") == 1


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Reply(RENEW, Inventory(1, 7, (Flagged(TERM, "disabled by ann", asked=False),))), "disabled"),
        (
            Reply(TakeInventory(0.0, "me", Inventory(0, 0)), Inventory(1, 7, (Flagged(TERM, "", asked=True),))),
            "asked",
        ),
        (Reply(RENEW, None), "evicted"),
        (Reply(ReadHeld(0.0, "me"), ()), "not_held"),
        (Failure(RENEW, "refused"), "trust_ended"),
        (Tick(), "trust_ended"),
        (StartFailed(TERM, "ValueError"), "start_failed"),
        (Withdraw(LOCK, "closed"), "closed"),
        (Leave("SIGTERM"), "closed"),
        (StepDown(LOCK, "x"), "asked"),
        (Reply(RENEW, Inventory(1, 7)), "other"),
    ],
)
def test_why_a_term_ended_is_one_of_a_few_words(event: Event, reason: str) -> None:
    assert reason_of(event) == reason


def test_a_heartbeats_latency_is_from_its_decision_to_its_answer(metrics: Metrics) -> None:
    see(metrics, Reply(RENEW, Inventory(0, 0)), at=10.02)
    assert value(metrics, "masterjob_heartbeat_duration_seconds_count") == 1
    assert value(metrics, "masterjob_heartbeat_duration_seconds_bucket", le="0.025") == 1
    assert value(metrics, "masterjob_heartbeat_duration_seconds_bucket", le="0.01") == 0


def test_a_heartbeat_without_success_counts_once(metrics: Metrics) -> None:
    see(metrics, Failure(RENEW, "refused"))
    abandoned = Renew(11.0, OwnLane("lane", 1.0), "session", "me", Inventory(0, 0))
    see(metrics, Tick(), Abandon(abandoned))
    see(metrics, Failure(abandoned, "aborted"))
    assert value(metrics, "masterjob_heartbeat_failures_total", reason="error") == 1
    assert value(metrics, "masterjob_heartbeat_failures_total", reason="no answer") == 1


def test_the_time_without_a_master_ends_with_the_start(metrics: Metrics) -> None:
    see(metrics, Reply(LOOK, vacancies(LOCK, "ANOTHER")), at=10.0)
    see(metrics, Reply(LOOK, vacancies(LOCK)), at=11.0)
    assert value(metrics, "masterjob_lock_vacant", lock=LOCK) == 1
    see(metrics, Reply(LOOK, ()), StartJob(TERM), at=12.5)
    assert value(metrics, "masterjob_lock_vacant", lock=LOCK) == 0
    assert value(metrics, "masterjob_vacancy_seconds_sum") == 2.5
    assert value(metrics, "masterjob_lock_vacant", lock="ANOTHER") is None


def test_what_the_dead_master_was_silent_counts_as_time_without_one(metrics: Metrics) -> None:
    watched = Watched(SessionSeen("x", "dead", 5, 0, 3000), 4.0, 4.0, 0)
    silent = watched.silent_for(10.0)
    assert silent > 0
    see(metrics, Reply(Evict(9.9, watched, if_stale=True), (TERM,)), at=10.0)
    see(metrics, Reply(LOOK, vacancies(LOCK)), at=10.0)
    see(metrics, Reply(LOOK, ()), StartJob(TERM), at=10.5)
    assert value(metrics, "masterjob_vacancy_seconds_sum") == pytest.approx(silent + 0.5)


def test_a_lock_that_another_took_is_vacant_no_more(metrics: Metrics) -> None:
    see(metrics, Reply(LOOK, vacancies(LOCK)))
    see(metrics, Reply(LOOK, vacancies()))
    assert value(metrics, "masterjob_lock_vacant", lock=LOCK) == 0
    assert value(metrics, "masterjob_vacancy_seconds_count") == 0


def test_starts_and_failures_of_jobs_are_counted(metrics: Metrics) -> None:
    see(metrics, Reply(LOOK, ()), StartJob(TERM))
    see(metrics, Started(TERM))
    see(metrics, StartFailed(TERM, "ValueError"))
    counted = ("job_starts_total", "job_started_total", "job_start_failures_total")
    assert [value(metrics, f"masterjob_{name}", lock=LOCK) for name in counted] == [1, 1, 1]


def test_wake_ups_are_counted_by_where_they_came_from(metrics: Metrics) -> None:
    see(metrics, Woken(frozenset({LOCK})))
    see(metrics, Woken())
    see(metrics, Tick(), LOOK)
    see(metrics, Declare(LOCK, Timing.of(1.0)))
    sources = ("notification", "poll", "timer", "resource")
    # The scene has declared its lock before.
    assert [value(metrics, "masterjob_wakeups_total", source=each) for each in sources] == [1, 1, 1, 2]


def test_the_databases_clock_is_compared_with_ours(metrics: Metrics) -> None:
    now = clock()
    see(metrics, Reply(LookAtSessions(now - 0.2), Census(int((time.time() + 5.0) * 1000), ())), at=now)
    assert value(metrics, "masterjob_database_clock_offset_seconds") == pytest.approx(5.1, abs=0.05)


def test_trust_and_lateness_are_asked_of_the_instances() -> None:
    members = [Patient(late=0.5, trust_left=4.0), Patient(trust_left=2.0), Patient()]
    metrics = Metrics(lambda: members)
    assert value(metrics, "masterjob_trust_left_seconds") == 2.0
    assert value(metrics, "masterjob_elector_late_seconds") == 0.5
    members.clear()
    assert value(metrics, "masterjob_trust_left_seconds") is None


def test_after_a_thousand_names_all_others_are_one() -> None:
    labels = Labels(2)
    assert [labels.of(name) for name in "abcab"] == ["a", "b", OTHER, "a", "b"]
    metrics = Metrics()
    for number in range(1005):
        see(metrics, Reply(LOOK, ()), StartJob(Term(f"lock {number}", 1)))
    assert value(metrics, "masterjob_is_master", lock=OTHER) == 5
    see(metrics, Tick(), StopJob(Term("lock 1004", 1), "why"))
    assert value(metrics, "masterjob_is_master", lock=OTHER) == 4


def test_requests_are_counted_by_their_pattern_never_by_what_was_asked(serve: Serve) -> None:
    served = serve()
    served.client.get(f"/API/masterlocks/{LOCK}")
    served.client.get("/some/thing")
    served.client.ask("PATCH", "/api/MasterLocks")
    route = "/api/MasterLocks/{lockName}"
    assert value(served.metrics, "masterjob_api_requests_total", method="GET", route=route, code="404") == 1
    assert value(served.metrics, "masterjob_api_requests_total", method="GET", route="other", code="404") == 1
    assert value(served.metrics, "masterjob_api_requests_total", method="PATCH", route="other", code="405") == 1


@pytest.mark.parametrize("version", ["1.0.1", "1.0.2", "0.0.1", "nonsense", ""])
def test_whatever_version_is_asked_for_there_are_two_renderings(version: str, serve: Serve) -> None:
    served = serve()
    openmetrics = f"application/openmetrics-text; version={version}; escaping=dots"
    for accept in (openmetrics, "*/*", f"text/plain; version={version}", f"{openmetrics}; q=0.5"):
        assert served.client.get("/metrics", Accept=accept).status == 200
    assert len(served.metrics._rendered) == 2


def test_what_is_shown_can_be_read_by_prometheus_in_both_formats(serve: Serve) -> None:
    client = serve().client
    plain = client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    names = {family.name for family in text_string_to_metric_families(plain.body.decode())}
    assert {"masterjob_build_info", "masterjob_heartbeat_duration_seconds", "masterjob_is_master"} <= names
    assert b"_created" not in plain.body
    openmetrics = client.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.body.endswith(b"# EOF\n")
