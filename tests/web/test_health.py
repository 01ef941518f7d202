"""Liveness and readiness: what probes are answered, and what does not affect them."""

from masterjob.election.core.actions import Abandon
from masterjob.election.core.commands import ListSessions
from masterjob.election.core.events import CoreEvent, Failure, JobRunChanged, JobStopped, Reply, Withdraw
from masterjob.election.observers import Step
from masterjob.election.values import SessionList, Term
from masterjob.job_status import RunPhase, RunStatus
from masterjob.web.health import DatabaseReadiness, Health, JobSummary
from tests.web.conftest import LOCK_NAME, HangingLockAdmin, ServeApi, fake_runner


def test_an_election_that_makes_progress_is_alive() -> None:
    assert Health(lambda: [fake_runner(lag=0.2, trust_left=3.0), fake_runner()]).liveness_problems() == []
    assert Health(list).liveness_problems() == []


def test_a_stuck_elector_is_not_alive() -> None:
    assert Health(lambda: [fake_runner(), fake_runner(lag=1.5)]).liveness_problems() == [
        "the election's thread is 1.5 s late"
    ]


def test_a_term_that_outlives_its_trust_is_not_alive() -> None:
    soon_stopped = Health(lambda: [fake_runner(trust_left=-0.1)])
    assert soon_stopped.liveness_problems() == []  # its watchdog is about to act
    assert Health(lambda: [fake_runner(trust_left=-2.0)]).liveness_problems() == [
        "a term goes on although its trust ended 2.0 s ago"
    ]


def test_an_election_that_was_ended_by_a_defect_is_not_alive() -> None:
    assert Health(lambda: [fake_runner(is_closed=True)]).liveness_problems() == [
        "the election has failed in this process, and has ended"
    ]


def test_without_the_database_a_process_is_alive_but_not_ready() -> None:
    health = Health(
        lambda: [fake_runner(unavailable_reason="the database cannot be used: postgresql://app:geheim@db")]
    )
    assert health.liveness_problems() == []
    assert health.readiness_problems() == ["the database was not reached yet"]


def test_readiness_waits_for_its_checks() -> None:
    resources_listed = [False]
    check = lambda: None if resources_listed[0] else "the resources were not listed yet"  # noqa: E731 - a check is a callable
    health = Health(list, [check])
    assert health.readiness_problems() == ["the resources were not listed yet"]
    resources_listed[0] = True
    assert health.readiness_problems() == []


def test_readiness_follows_the_last_answer_of_the_database() -> None:
    readiness, command = DatabaseReadiness(), ListSessions(0.0)
    assert readiness() is None
    readiness.on_step(Step("me", 1.0, Failure(command, "refused"), ()))
    assert readiness() == "the database did not answer the last time"
    readiness.on_step(Step("other", 1.0, Reply(command, SessionList(0, ())), ()))
    assert readiness() is not None  # another instance's database
    readiness.on_step(Step("me", 2.0, Reply(command, SessionList(0, ())), ()))
    assert readiness() is None
    readiness.on_step(Step("me", 3.0, Reply(command, SessionList(0, ())), (Abandon(command),)))
    assert readiness() is None


def summary_of(*events: CoreEvent) -> str:
    summary = JobSummary()
    for event in events:
        summary.on_step(Step("me", 1.0, event, ()))
    return summary()


def run_changed(lock_name: str, phase: RunPhase) -> JobRunChanged:
    return JobRunChanged(Term(lock_name, 1), RunStatus(phase, 1.0))


def test_the_jobs_are_summarized_by_phase_and_those_that_failed_by_name() -> None:
    assert summary_of() == ""
    assert summary_of(run_changed("A", RunPhase.STARTING), run_changed("A", RunPhase.RUNNING)) == (
        "last runs here: 1 Running"
    )
    events = [run_changed(name, RunPhase.FAILED) for name in ("C", "B")]
    assert summary_of(run_changed("A", RunPhase.RUNNING), *events) == "last runs here: 1 Running, 2 Failed (B, C)"
    many = [run_changed(f"{number:02}", RunPhase.FAILED) for number in range(12)]
    assert summary_of(*many).endswith("12 Failed (00, 01, 02, 03, 04, 05, 06, 07, 08, 09, …)")


def test_a_failure_is_remembered_after_the_stop_until_the_lock_is_left() -> None:
    failed, stopped = run_changed("A", RunPhase.FAILED), JobStopped(Term("A", 1))
    assert summary_of(run_changed("A", RunPhase.STOPPING), stopped) == ""
    assert summary_of(failed, stopped) == "last runs here: 1 Failed (A)"
    assert summary_of(failed, stopped, Withdraw("A", "closed")) == ""


def test_a_failed_job_is_in_the_text_of_readiness_and_does_not_change_its_status(serve: ServeApi) -> None:
    api = serve(HangingLockAdmin(), summarize_jobs=lambda: "last runs here: 1 Failed (A)")
    ready = api.client.get("/readyz")
    assert (ready.status, ready.body) == (200, b"ready\nlast runs here: 1 Failed (A)\n")
    assert api.client.get("/healthz").body == b"alive\n"


def test_the_probe_port_serves_three_paths_without_a_token_and_nothing_else(serve: ServeApi) -> None:
    api = serve(HangingLockAdmin(), port=None, probe_port=0, probe_host="127.0.0.1")
    client = api.client
    assert (client.get("/healthz").body, client.get("/readyz").body) == (b"alive\n", b"ready\n")
    assert b"masterjob_build_info" in client.get("/metrics", Host="10.0.0.7:9090").body
    for path in (
        "/",
        "/api/MasterLocks",
        "/api/MasterControls",
        "/explorer",
        "/api/openapi.json",
        f"/{LOCK_NAME}",
    ):
        assert client.get(path).status == 404
    assert client.post_form("/api/MasterControls/disable", lockName=LOCK_NAME, reason="x").status == 404
    api.runners.append(fake_runner(lag=9.0, unavailable_reason="x"))
    unhealthy = client.get("/healthz")
    assert (unhealthy.status, unhealthy.body) == (503, b"the election's thread is 9.0 s late\n")
    assert client.get("/readyz").status == 503
