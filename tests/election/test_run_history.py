"""What the history says of a job's runs, and when it happened."""

import pytest

from masterjob.election.core.actions import RecordTransition
from masterjob.election.core.events import JobRunChanged, JobStarted, JobStartFailed, JobStopped, StepDown
from masterjob.election.core.run_history import transition_of
from masterjob.election.values import HistoryEntry, Term, TransitionKind
from masterjob.job_status import RunPhase, RunStatus
from tests.election.harness import ElectorHarness

RUNNING, RESTARTING = TransitionKind.RUNNING, TransitionKind.RESTARTING
FAILED, START_FAILED = TransitionKind.FAILED, TransitionKind.START_FAILED


@pytest.mark.parametrize(
    ("phase", "previous", "expected"),
    [
        (RunPhase.STARTING, None, None),
        (RunPhase.RUNNING, None, RUNNING),
        (RunPhase.STARTING, RUNNING, RESTARTING),
        (RunPhase.STARTING, RESTARTING, None),
        (RunPhase.STARTING, START_FAILED, None),
        (RunPhase.RUNNING, RESTARTING, RUNNING),
        (RunPhase.FAILED, None, START_FAILED),
        (RunPhase.FAILED, RESTARTING, START_FAILED),
        (RunPhase.FAILED, RUNNING, FAILED),
        (RunPhase.COMPLETED, RUNNING, TransitionKind.COMPLETED),
        (RunPhase.COMPLETED, None, TransitionKind.COMPLETED),
        (RunPhase.STOPPING, RUNNING, None),
    ],
)
def test_a_phase_is_recorded_if_it_changes_whether_the_job_runs(
    phase: RunPhase, previous: TransitionKind | None, expected: TransitionKind | None
) -> None:
    assert transition_of(RunStatus(phase, 1.0), previous) is expected


@pytest.fixture
def harness() -> ElectorHarness:
    return ElectorHarness()


def entries(harness: ElectorHarness) -> list[HistoryEntry]:
    return [action.entry for action in harness.actions_of(RecordTransition)]


def change(harness: ElectorHarness, term: Term, phase: RunPhase, restarts: int = 0) -> None:
    run = RunStatus(phase, harness.now - 0.25, exit_code=0, restarts=restarts, last_error="exit code 7")
    harness.submit(JobRunChanged(term, run))


def test_an_event_has_the_time_at_which_its_phase_began(harness: ElectorHarness) -> None:
    term = harness.become_master("job")
    change(harness, term, RunPhase.RUNNING)
    assert entries(harness)[-1] == HistoryEntry(
        "job", term.number, RUNNING, "the job of job runs", "me", happened_at=harness.now - 0.25
    )


def test_the_stop_has_its_own_time_however_long_the_release_takes(harness: ElectorHarness) -> None:
    term = harness.become_master("job")
    harness.submit(StepDown("job", "asked to"))
    harness.advance(0.5)
    stopped_at = harness.now
    harness.submit(JobStopped(term))
    harness.advance_without_replies(3.0)
    harness.advance(2.0)
    stopped, *_ = [entry for entry in entries(harness) if entry.kind is TransitionKind.STOPPED]
    stepped_down, *_ = [entry for entry in entries(harness) if entry.kind is TransitionKind.STEPPED_DOWN]
    assert stopped.happened_at == stopped_at
    assert stepped_down.happened_at is not None
    assert stepped_down.happened_at >= stopped_at + 3.0


def test_the_end_of_the_trust_is_recorded_when_the_job_is_told_to_stop(harness: ElectorHarness) -> None:
    term = harness.become_master("job")
    harness.submit(JobStarted(term))
    harness.advance_without_replies(4.0)
    (ended,) = [entry for entry in entries(harness) if entry.kind is TransitionKind.TRUST_ENDED]
    assert ended.term == term.number
    assert ended.reason.startswith("me stops the job of job: ")
    assert ended.happened_at is not None
    assert ended.happened_at < harness.now


def test_a_failure_is_recorded_once(harness: ElectorHarness) -> None:
    term = harness.become_master("job")
    change(harness, term, RunPhase.FAILED)
    harness.submit(JobStartFailed(term, "exit code 7"))
    kinds = [entry.kind for entry in entries(harness)]
    assert kinds.count(START_FAILED) == 1


def test_a_failure_after_the_job_has_run_is_not_a_failed_start(harness: ElectorHarness) -> None:
    term = harness.become_master("job")
    change(harness, term, RunPhase.RUNNING)
    change(harness, term, RunPhase.FAILED)
    harness.submit(JobStartFailed(term, "exit code 7"))
    assert [entry.kind for entry in entries(harness)][-2:] == [RUNNING, FAILED]


def test_no_two_events_of_a_term_read_alike(harness: ElectorHarness) -> None:
    term = harness.become_master("job")
    for restarts in range(3):
        change(harness, term, RunPhase.RUNNING, restarts)
        change(harness, term, RunPhase.STARTING, restarts)
    reasons = [(entry.kind, entry.reason) for entry in entries(harness)]
    assert len(reasons) == len(set(reasons))


def test_a_run_of_an_earlier_term_is_not_recorded(harness: ElectorHarness) -> None:
    term = harness.become_master("job")
    change(harness, Term("job", term.number - 1), RunPhase.RUNNING)
    assert [entry.kind for entry in entries(harness)] == [TransitionKind.ELECTED]


def test_the_last_heartbeat_of_an_evicted_master_is_recorded_with_its_time() -> None:
    rival = ElectorHarness("rival")
    rival_session = "dead/1"
    rival.add_rival(rival_session, "dead", lease_ms=3_000)
    rival.store.ensure_locks(["job"])
    (term,) = rival.store.claim(rival_session, ["job"])
    last_heartbeat_at = rival.now
    rival.declare("job")
    rival.answer_all()
    rival.advance(6.0)
    heartbeat, evicted = [entry for entry in entries(rival) if entry.term == term.number]
    assert (heartbeat.kind, heartbeat.instance) == (TransitionKind.LAST_HEARTBEAT, "dead")
    assert (evicted.kind, evicted.instance) == (TransitionKind.EVICTED, "rival")
    assert heartbeat.happened_at == pytest.approx(last_heartbeat_at, abs=0.01)
    assert evicted.happened_at is not None
    assert evicted.happened_at >= last_heartbeat_at + 3.0
