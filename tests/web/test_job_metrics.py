"""The metrics of a job's life: its phase, restarts, the length of its start, and failures in a row."""

import pytest

from masterjob.election.core.actions import Action, RecordTransition
from masterjob.election.core.events import CoreEvent, Declare, JobRunChanged, JobStopped, Tick
from masterjob.election.observers import Step
from masterjob.election.timing import Timing
from masterjob.election.values import HistoryEntry, Term, TransitionKind
from masterjob.job_status import RunPhase, RunStatus
from masterjob.web.metrics.observer import Metrics
from masterjob.web.metrics.series import OTHER_LABEL
from tests.web.conftest import LOCK_NAME

TERM = Term(LOCK_NAME, 7)


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    observe_step(metrics, Declare(LOCK_NAME, Timing.of(1.0)))
    return metrics


def observe_step(metrics: Metrics, event: CoreEvent, *actions: Action) -> None:
    metrics.on_step(Step("me", 10.0, event, actions))


def sample_value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def change_run(
    metrics: Metrics, phase: RunPhase, since: float = 10.0, restarts: int = 0, term: Term = TERM
) -> None:
    observe_step(metrics, JobRunChanged(term, RunStatus(phase, since, restarts=restarts)))


def phases_of(metrics: Metrics, lock_name: str = LOCK_NAME) -> dict[str, float]:
    """Return the phases of a lock that are not 0."""
    values = {each: sample_value(metrics, "masterjob_job_phase", lock=lock_name, phase=each) for each in RunPhase}
    return {phase: value for phase, value in values.items() if value}


def test_the_phase_of_a_run_is_a_set_of_states_of_which_one_is_1(metrics: Metrics) -> None:
    assert sample_value(metrics, "masterjob_job_phase", lock=LOCK_NAME, phase="Running") is None  # no run yet
    for phase in RunPhase:
        change_run(metrics, phase)
        assert phases_of(metrics) == {phase: 1}
    observe_step(metrics, JobStopped(TERM))
    assert phases_of(metrics) == {}
    assert sample_value(metrics, "masterjob_job_phase", lock=LOCK_NAME, phase="Running") == 0


def test_locks_that_share_a_label_count_in_each_phase(metrics: Metrics) -> None:
    for number in range(1_003):
        change_run(metrics, RunPhase.STARTING, term=Term(f"lock {number}", 1))
    change_run(metrics, RunPhase.RUNNING, term=Term("lock 1002", 1))
    assert phases_of(metrics, OTHER_LABEL) == {"Starting": 3, "Running": 1}


def test_restarts_in_place_are_counted(metrics: Metrics) -> None:
    restarts = "masterjob_job_restarts_total"
    assert sample_value(metrics, restarts, lock=LOCK_NAME) == 0
    change_run(metrics, RunPhase.STARTING, restarts=1)
    change_run(metrics, RunPhase.RUNNING, restarts=1)
    change_run(metrics, RunPhase.STARTING, restarts=3)  # one of them was not seen
    change_run(metrics, RunPhase.STARTING, term=Term(LOCK_NAME, 8))
    assert sample_value(metrics, restarts, lock=LOCK_NAME) == 3


def test_a_start_is_measured_until_the_job_runs(metrics: Metrics) -> None:
    change_run(metrics, RunPhase.STARTING, since=10.0)
    change_run(metrics, RunPhase.FAILED, since=11.0)
    change_run(metrics, RunPhase.STARTING, since=20.0, restarts=1)
    change_run(metrics, RunPhase.RUNNING, since=25.0, restarts=1)
    change_run(metrics, RunPhase.STOPPING, since=90.0, restarts=1)
    assert sample_value(metrics, "masterjob_job_start_duration_seconds_count") == 1
    assert sample_value(metrics, "masterjob_job_start_duration_seconds_sum") == 5


def test_failures_count_until_the_job_runs(metrics: Metrics) -> None:
    def follow(*kinds: TransitionKind) -> float | None:
        for kind in kinds:
            observe_step(metrics, Tick(), RecordTransition(HistoryEntry(LOCK_NAME, 7, kind, "text")))
        return sample_value(metrics, "masterjob_job_consecutive_failures", lock=LOCK_NAME)

    assert follow() == 0
    assert follow(TransitionKind.START_FAILED, TransitionKind.STOPPED, TransitionKind.FAILED) == 2
    assert follow(TransitionKind.RUNNING) == 0
    assert follow(TransitionKind.FAILED, TransitionKind.COMPLETED) == 0
