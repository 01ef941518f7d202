"""What an instance does as master, derived from the steps of its election."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from masterjob.election.core.actions import Action, StartJob, StopJob
from masterjob.election.core.events import CoreEvent, JobRunChanged, JobStarted, JobStopped, Tick
from masterjob.election.observers import Step
from masterjob.election.values import Term
from masterjob.job_status import JobStatus, RunPhase, RunStatus
from masterjob.kube.status.own_runs import OwnRun, OwnRuns

TERM = Term("JOB", 5)
RUNNING = RunStatus(RunPhase.RUNNING, 1.0)
STOPPING = replace(RUNNING, phase=RunPhase.STOPPING)
FAILED = replace(RUNNING, phase=RunPhase.FAILED)


def step(own_runs: OwnRuns, event: CoreEvent, *actions: Action) -> list[str]:
    return own_runs.track(Step("me", 0.0, event, actions))


def test_an_instance_is_master_from_the_start_of_its_job_to_its_end() -> None:
    own_runs = OwnRuns()
    assert own_runs.get("JOB") is None
    assert not own_runs.is_master_of("JOB")
    assert step(own_runs, Tick(), StartJob(TERM)) == ["JOB"]
    assert own_runs.is_master_of("JOB")
    assert step(own_runs, JobRunChanged(TERM, RUNNING)) == ["JOB"]
    assert step(own_runs, JobStarted(TERM)) == []
    assert own_runs.get("JOB") == OwnRun(5, RUNNING)
    assert step(own_runs, JobStopped(TERM)) == ["JOB"]
    assert not own_runs.is_master_of("JOB")


def test_a_lost_mastership_is_remembered_until_the_next_term() -> None:
    own_runs = OwnRuns()
    step(own_runs, Tick(), StartJob(TERM))
    step(own_runs, Tick(), StopJob(TERM, "no heartbeat was confirmed", is_lost=True))
    assert own_runs.get("JOB") == OwnRun(5, is_lost=True)
    step(own_runs, Tick(), StartJob(Term("JOB", 6)))
    assert own_runs.get("JOB") == OwnRun(6)


def test_what_follows_in_an_earlier_term_changes_nothing() -> None:
    own_runs = OwnRuns()
    step(own_runs, Tick(), StartJob(Term("JOB", 6)))
    assert step(own_runs, JobRunChanged(TERM, RUNNING)) == []
    assert step(own_runs, JobStopped(TERM)) == []
    assert own_runs.get("JOB") == OwnRun(6)


@pytest.mark.parametrize(
    ("own_run", "phase"),
    [
        (OwnRun(5), None),
        (OwnRun(5, RUNNING), RunPhase.RUNNING),
        (OwnRun(5, STOPPING), RunPhase.STOPPING),
        (OwnRun(5, STOPPING, is_over=True), None),
        (OwnRun(5, FAILED, is_over=True), RunPhase.FAILED),
    ],
)
def test_a_run_that_was_stopped_has_no_phase_and_one_that_failed_keeps_it(
    own_run: OwnRun, phase: RunPhase | None
) -> None:
    assert own_run.phase == phase


def test_a_run_is_recorded_if_the_database_has_its_term_phase_and_restarts() -> None:
    recorded = JobStatus("JOB", "report", "me", 5, RunPhase.RUNNING, datetime(2026, 1, 1, tzinfo=UTC))
    own_run = OwnRun(5, RUNNING)
    assert own_run.is_recorded_in(recorded)
    assert OwnRun(5).is_recorded_in(None), "there is nothing to record yet"
    assert not own_run.is_recorded_in(None)
    assert not own_run.is_recorded_in(replace(recorded, term=4))
    assert not own_run.is_recorded_in(replace(recorded, restarts=1))
    assert not own_run.is_recorded_in(replace(recorded, phase=RunPhase.STARTING))
