"""What is counted, by the steps of an election that an observer gets."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from masterjob.app.control_api import ControlApi
from masterjob.concurrency.clock import clock
from masterjob.election.core.actions import Abandon, Action, RecordTransition, StartJob, StopJob
from masterjob.election.core.commands import (
    ListSessions,
    ListVacancies,
    ReadHeldTerms,
    ReadInventory,
    Renew,
)
from masterjob.election.core.events import (
    CoreEvent,
    Declare,
    Failure,
    JobStarted,
    JobStartFailed,
    LocksChanged,
    Reply,
    Shutdown,
    StepDown,
    Tick,
    Withdraw,
)
from masterjob.election.core.session import HeartbeatConnection
from masterjob.election.observers import Step
from masterjob.election.timing import Timing
from masterjob.election.values import (
    HistoryEntry,
    Inventory,
    SessionList,
    StopRequest,
    Term,
    TransitionKind,
    Vacancies,
)
from masterjob.runtime.runtime import Runtime
from masterjob.store.database import Database
from masterjob.web.metrics.observer import Metrics, stop_reason
from masterjob.web.metrics.series import OTHER_LABEL, BoundedLabels
from tests.web.conftest import LOCK_NAME, ServeApi, fake_runner

TERM = Term(LOCK_NAME, 7)
RENEW = Renew(10.0, HeartbeatConnection("heartbeat", 1.0), "session", "me", Inventory(0, 0))
LIST_VACANCIES = ListVacancies(10.0, ignore_fair_share=False)


def vacancies(*names: str) -> Vacancies:
    return Vacancies(names, enabled_count=1, live_instances=1, next_enable_ms=None, lock_count=1)


def observe_step(metrics: Metrics, event: CoreEvent, *actions: Action, at: float = 10.0) -> None:
    metrics.on_step(Step("me", at, event, actions))


def sample_value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    observe_step(metrics, Declare(LOCK_NAME, Timing.of()))
    return metrics


def test_a_lock_that_is_declared_counts_from_zero(metrics: Metrics) -> None:
    assert sample_value(metrics, "masterjob_is_master", lock=LOCK_NAME) == 0
    assert sample_value(metrics, "masterjob_job_starts_total", lock=LOCK_NAME) == 0


def test_a_serving_instance_is_master_until_the_stop_is_ordered(metrics: Metrics) -> None:
    elected = RecordTransition(HistoryEntry(LOCK_NAME, 7, TransitionKind.ELECTED, "me became master"))
    observe_step(metrics, Reply(LIST_VACANCIES, ()), StartJob(TERM), elected)
    assert sample_value(metrics, "masterjob_is_master", lock=LOCK_NAME) == 1
    assert sample_value(metrics, "masterjob_transitions_total", lock=LOCK_NAME, kind="elected") == 1
    observe_step(metrics, StepDown(LOCK_NAME, "asked to"), StopJob(TERM, "asked to"))
    assert sample_value(metrics, "masterjob_is_master", lock=LOCK_NAME) == 0
    assert sample_value(metrics, "masterjob_job_stops_total", lock=LOCK_NAME, reason="asked") == 1


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Reply(RENEW, Inventory(1, 7, (StopRequest(TERM, "disabled by ann", is_step_down=False),))), "disabled"),
        (
            Reply(
                ReadInventory(0.0, "me", Inventory(0, 0)),
                Inventory(1, 7, (StopRequest(TERM, "", is_step_down=True),)),
            ),
            "asked",
        ),
        (Reply(RENEW, None), "evicted"),
        (Reply(ReadHeldTerms(0.0, "me"), ()), "not_held"),
        (Failure(RENEW, "refused"), "trust_ended"),
        (Tick(), "trust_ended"),
        (JobStartFailed(TERM, "ValueError"), "start_failed"),
        (Withdraw(LOCK_NAME, "closed"), "closed"),
        (Shutdown("SIGTERM"), "closed"),
        (StepDown(LOCK_NAME, "x"), "asked"),
        (Reply(RENEW, Inventory(1, 7)), "other"),
    ],
)
def test_the_stop_reason_is_one_of_a_closed_list(event: CoreEvent, reason: str) -> None:
    assert stop_reason(event) == reason


def test_a_heartbeats_latency_is_from_its_decision_to_its_answer(metrics: Metrics) -> None:
    observe_step(metrics, Reply(RENEW, Inventory(0, 0)), at=10.02)
    assert sample_value(metrics, "masterjob_heartbeat_duration_seconds_count") == 1
    assert sample_value(metrics, "masterjob_heartbeat_duration_seconds_bucket", le="0.025") == 1
    assert sample_value(metrics, "masterjob_heartbeat_duration_seconds_bucket", le="0.01") == 0


def test_a_heartbeat_without_success_counts_once(metrics: Metrics) -> None:
    observe_step(metrics, Failure(RENEW, "refused"))
    abandoned = Renew(11.0, HeartbeatConnection("heartbeat", 1.0), "session", "me", Inventory(0, 0))
    observe_step(metrics, Tick(), Abandon(abandoned))
    observe_step(metrics, Failure(abandoned, "aborted"))
    assert sample_value(metrics, "masterjob_heartbeat_failures_total", reason="error") == 1
    assert sample_value(metrics, "masterjob_heartbeat_failures_total", reason="no answer") == 1


def test_a_lock_is_vacant_until_the_start(metrics: Metrics) -> None:
    observe_step(metrics, Reply(LIST_VACANCIES, vacancies(LOCK_NAME, "ANOTHER")))
    assert sample_value(metrics, "masterjob_lock_vacant", lock=LOCK_NAME) == 1
    observe_step(metrics, Reply(LIST_VACANCIES, ()), StartJob(TERM))
    assert sample_value(metrics, "masterjob_lock_vacant", lock=LOCK_NAME) == 0
    assert sample_value(metrics, "masterjob_lock_vacant", lock="ANOTHER") is None


def test_a_lock_that_another_took_is_vacant_no_more(metrics: Metrics) -> None:
    observe_step(metrics, Reply(LIST_VACANCIES, vacancies(LOCK_NAME)))
    observe_step(metrics, Reply(LIST_VACANCIES, vacancies()))
    assert sample_value(metrics, "masterjob_lock_vacant", lock=LOCK_NAME) == 0


def test_a_lock_counts_as_enabled_as_far_as_the_instance_knows(metrics: Metrics) -> None:
    def is_enabled() -> float | None:
        return sample_value(metrics, "masterjob_lock_enabled", lock=LOCK_NAME)

    assert is_enabled() is None
    observe_step(metrics, Reply(LIST_VACANCIES, replace(vacancies(), disabled_names=frozenset({LOCK_NAME}))))
    assert is_enabled() == 0
    observe_step(metrics, Reply(LIST_VACANCIES, vacancies()))
    assert is_enabled() == 1
    observe_step(metrics, Failure(RENEW, "refused"), StopJob(TERM, "no trust"))
    assert is_enabled() == 1
    request = StopRequest(TERM, "disabled by ann", is_step_down=False)
    observe_step(metrics, Reply(RENEW, Inventory(1, 7, (request,))), StopJob(TERM, "disabled"))
    assert is_enabled() == 0
    observe_step(metrics, Reply(LIST_VACANCIES, ()), StartJob(TERM))
    assert is_enabled() == 1
    observe_step(metrics, Withdraw(LOCK_NAME, "its resource is gone"))
    assert is_enabled() == 0


def test_a_gap_is_counted_by_its_reason(metrics: Metrics) -> None:
    metrics.count_gap(LOCK_NAME, "crash", 20.0)
    metrics.count_gap(LOCK_NAME, "crash", 5.0)
    total = "masterjob_job_unavailable_seconds_total"
    assert sample_value(metrics, total, lock=LOCK_NAME, reason="crash") == 25
    assert sample_value(metrics, "masterjob_vacancy_seconds_count") == 2
    assert sample_value(metrics, "masterjob_vacancy_seconds_sum") == 25


def test_the_database_is_reachable_if_the_last_statement_was_answered() -> None:
    runners = [fake_runner()]
    metrics = Metrics(lambda: runners)

    def is_reachable() -> float | None:
        return sample_value(metrics, "masterjob_database_reachable")

    assert is_reachable() == 1
    observe_step(metrics, Failure(RENEW, "refused"))
    assert is_reachable() == 0
    observe_step(metrics, Reply(RENEW, Inventory(0, 0)))
    assert is_reachable() == 1
    observe_step(metrics, Tick(), Abandon(RENEW))
    assert is_reachable() == 0
    observe_step(metrics, Reply(RENEW, Inventory(0, 0)))
    runners[:] = [fake_runner(), fake_runner(unavailable_reason="the database was not reached yet")]
    assert is_reachable() == 0
    runners.clear()
    assert is_reachable() is None


def test_starts_and_failures_of_jobs_are_counted(metrics: Metrics) -> None:
    observe_step(metrics, Reply(LIST_VACANCIES, ()), StartJob(TERM))
    observe_step(metrics, JobStarted(TERM))
    observe_step(metrics, JobStartFailed(TERM, "ValueError"))
    names = ("job_starts_total", "job_started_total", "job_start_failures_total")
    assert [sample_value(metrics, f"masterjob_{name}", lock=LOCK_NAME) for name in names] == [1, 1, 1]


def test_wakeups_are_counted_by_source(metrics: Metrics) -> None:
    observe_step(metrics, LocksChanged(frozenset({LOCK_NAME})))
    observe_step(metrics, LocksChanged())
    observe_step(metrics, Tick(), LIST_VACANCIES)
    observe_step(metrics, Declare(LOCK_NAME, Timing.of(1.0)))
    sources = ("notification", "poll", "timer", "resource")
    # The fixture has declared its lock before.
    assert [sample_value(metrics, "masterjob_wakeups_total", source=each) for each in sources] == [1, 1, 1, 2]


def test_the_databases_clock_is_compared_with_ours(metrics: Metrics) -> None:
    now = clock()
    observe_step(metrics, Reply(ListSessions(now - 0.2), SessionList(int((time.time() + 5.0) * 1000), ())), at=now)
    assert sample_value(metrics, "masterjob_database_clock_offset_seconds") == pytest.approx(5.1, abs=0.05)


def test_trust_and_lag_are_read_from_the_runners() -> None:
    runners = [fake_runner(lag=0.5, trust_left=4.0), fake_runner(trust_left=2.0), fake_runner()]
    metrics = Metrics(lambda: runners)
    assert sample_value(metrics, "masterjob_trust_left_seconds") == 2.0
    assert sample_value(metrics, "masterjob_elector_late_seconds") == 0.5
    runners.clear()
    assert sample_value(metrics, "masterjob_trust_left_seconds") is None


def test_after_a_thousand_names_all_others_are_one() -> None:
    labels = BoundedLabels(2)
    assert [labels.label_for(name) for name in "abcab"] == ["a", "b", OTHER_LABEL, "a", "b"]
    metrics = Metrics()
    for number in range(1005):
        observe_step(metrics, Reply(LIST_VACANCIES, ()), StartJob(Term(f"lock {number}", 1)))
    assert sample_value(metrics, "masterjob_is_master", lock=OTHER_LABEL) == 5
    observe_step(metrics, Tick(), StopJob(Term("lock 1004", 1), "why"))
    assert sample_value(metrics, "masterjob_is_master", lock=OTHER_LABEL) == 4


def test_requests_are_counted_by_their_pattern_never_by_their_path(serve: ServeApi) -> None:
    api = serve()
    api.client.get(f"/API/masterlocks/{LOCK_NAME}")
    api.client.get("/some/thing")
    api.client.request("PATCH", "/api/MasterLocks")
    route = "/api/MasterLocks/{lockName}"
    assert sample_value(api.metrics, "masterjob_api_requests_total", method="GET", route=route, code="404") == 1
    assert sample_value(api.metrics, "masterjob_api_requests_total", method="GET", route="other", code="404") == 1
    assert (
        sample_value(api.metrics, "masterjob_api_requests_total", method="PATCH", route="other", code="405") == 1
    )


@pytest.mark.parametrize("version", ["1.0.1", "1.0.2", "0.0.1", "nonsense", ""])
def test_whatever_version_is_requested_there_are_two_renderings(version: str, serve: ServeApi) -> None:
    api = serve()
    openmetrics = f"application/openmetrics-text; version={version}; escaping=dots"
    for accept in (openmetrics, "*/*", f"text/plain; version={version}", f"{openmetrics}; q=0.5"):
        assert api.client.get("/metrics", Accept=accept).status == 200
    assert len(api.metrics._renderer._cache) == 2


def test_prometheus_can_parse_both_formats(serve: ServeApi) -> None:
    client = serve().client
    plain = client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    names = {family.name for family in text_string_to_metric_families(plain.body.decode())}
    assert {"masterjob_build_info", "masterjob_heartbeat_duration_seconds", "masterjob_is_master"} <= names
    assert b"_created" not in plain.body
    openmetrics = client.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.body.endswith(b"# EOF\n")


def test_status_writes_are_counted_by_every_control_api_of_the_process(tmp_path: Path) -> None:
    runtime, database = Runtime(), Database(f"sqlite:///{tmp_path}/locks.db")
    apis = [ControlApi(runtime, database.lock_admin()) for _ in range(2)]
    runtime.publish_status_write("written")
    for api in apis:
        assert sample_value(api._components.metrics, "masterjob_status_writes_total", result="written") == 1
