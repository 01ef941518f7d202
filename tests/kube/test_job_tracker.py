"""What an instance does as master, derived from the steps of its election."""

from masterjob.election.core.actions import Action, StartJob, StopJob
from masterjob.election.core.events import CoreEvent, JobStarted, JobStartFailed, JobStopped, Tick
from masterjob.election.observers import Step
from masterjob.election.values import Term
from masterjob.kube.status.job_tracker import JobPhase, JobState, JobTracker

TERM = Term("JOB", 5)


def step(tracker: JobTracker, event: CoreEvent, *actions: Action) -> list[str]:
    return tracker.track(Step("me", 0.0, event, actions))


def test_a_term_is_running_from_the_call_of_its_start() -> None:
    tracker = JobTracker()
    assert step(tracker, Tick(), StartJob(TERM)) == ["JOB"]
    assert tracker.state_of("JOB") == JobState(5, JobPhase.RUNNING)
    assert tracker.is_master_of("JOB")
    assert step(tracker, JobStarted(TERM)) == []


def test_a_stop_has_its_reason_until_it_returns() -> None:
    tracker = JobTracker()
    step(tracker, Tick(), StartJob(TERM))
    assert step(tracker, Tick(), StopJob(TERM, "disabled by ann")) == ["JOB"]
    assert tracker.state_of("JOB") == JobState(5, JobPhase.STOPPING, "disabled by ann")
    assert tracker.is_master_of("JOB")
    step(tracker, JobStopped(TERM))
    assert tracker.state_of("JOB") == JobState(5, JobPhase.STOPPED)
    assert not tracker.is_master_of("JOB")


def test_a_failed_start_outlasts_the_stop_that_follows_it() -> None:
    tracker = JobTracker()
    step(tracker, Tick(), StartJob(TERM))
    step(tracker, JobStartFailed(TERM, "OSError: no route"), StopJob(TERM, "start failed"))
    step(tracker, JobStopped(TERM))
    assert tracker.state_of("JOB") == JobState(5, JobPhase.FAILED, "start failed: OSError: no route")


def test_the_next_term_begins_anew() -> None:
    tracker = JobTracker()
    step(tracker, Tick(), StartJob(TERM))
    step(tracker, JobStartFailed(TERM, "x"), StopJob(TERM, "start failed"))
    step(tracker, Tick(), StartJob(Term("JOB", 6)))
    assert tracker.state_of("JOB") == JobState(6, JobPhase.RUNNING)


def test_a_lock_that_was_never_held_has_no_job_state() -> None:
    assert JobTracker().state_of("JOB") is None
    assert not JobTracker().is_master_of("JOB")
