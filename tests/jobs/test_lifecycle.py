"""The life of a run, event by event."""

from collections.abc import Sequence

import pytest

from masterjob.errors import MasterJobError
from masterjob.job_status import RunPhase, RunStatus
from masterjob.jobs.lifecycle import (
    Errored,
    Exited,
    FoundStopped,
    HandOver,
    Raised,
    ReportStarted,
    RestartAfter,
    RestartDue,
    Returned,
    RunAction,
    RunEvent,
    StartCalled,
    StartReturned,
    StartTimePassed,
    StopRequested,
    advance,
)
from masterjob.jobs.policy import Restart, RunPolicy

DONE = Exited(0, MasterJobError("the command ended with exit code 0"), ("bye",))
BROKEN = Exited(7, MasterJobError("the command ended with exit code 7"), ("boom",))
ERROR = Errored(ValueError("no\nwords"))
RETURNED = Returned(MasterJobError("run has returned after 0.1 s"))
RAISED = Raised(ValueError("no\nwords"))
GONE = FoundStopped(MasterJobError("it answered 404"))
EVERY_EVENT = (
    StartCalled(),
    StartTimePassed(),
    StartReturned(),
    DONE,
    BROKEN,
    ERROR,
    RETURNED,
    RAISED,
    GONE,
    RestartDue(),
    StopRequested(),
)

S, R, C, F, STOPPING = (
    RunPhase.STARTING,
    RunPhase.RUNNING,
    RunPhase.COMPLETED,
    RunPhase.FAILED,
    RunPhase.STOPPING,
)


def live(
    *events: RunEvent, restart: Restart = Restart.ALWAYS, once: bool = False
) -> tuple[RunStatus, list[RunAction]]:
    """Return the status after these events, one a second, and the actions on the way."""
    run, actions = None, list[RunAction]()
    for now, event in enumerate((StartCalled(), *events)):
        run, action = advance(RunPolicy(restart, once), run, event, float(now))
        actions += [] if action is None else [action]
    assert run is not None
    return run, actions


@pytest.mark.parametrize(
    ("restart", "events", "phase", "actions"),
    [
        (Restart.ALWAYS, [], S, []),
        (Restart.ALWAYS, [StartTimePassed()], R, [ReportStarted()]),
        (Restart.ALWAYS, [StartReturned()], R, [ReportStarted()]),
        (Restart.ALWAYS, [StartTimePassed(), StartReturned()], R, [ReportStarted()]),
        (Restart.ALWAYS, [StartTimePassed(), DONE], S, [ReportStarted(), RestartAfter(1.0)]),
        (Restart.ALWAYS, [DONE], F, [RestartAfter(1.0)]),
        (Restart.ALWAYS, [DONE, RestartDue()], S, [RestartAfter(1.0)]),
        (Restart.ALWAYS, [BROKEN], F, [HandOver(BROKEN.error)]),
        (Restart.ALWAYS, [StartTimePassed(), BROKEN], F, [ReportStarted(), HandOver(BROKEN.error)]),
        (Restart.ON_FAILURE, [DONE], C, [ReportStarted()]),
        (Restart.ON_FAILURE, [StartTimePassed(), DONE], C, [ReportStarted()]),
        (Restart.ON_FAILURE, [BROKEN], F, [HandOver(BROKEN.error)]),
        (Restart.NEVER, [DONE], C, [ReportStarted()]),
        (Restart.NEVER, [BROKEN], F, []),
        (Restart.NEVER, [ERROR], F, [HandOver(ERROR.error)]),
        (Restart.ALWAYS, [ERROR], F, [HandOver(ERROR.error)]),
        (Restart.ALWAYS, [StartReturned(), ERROR], F, [ReportStarted(), HandOver(ERROR.error)]),
        (Restart.ON_FAILURE, [RETURNED], C, [ReportStarted()]),
        (Restart.ALWAYS, [StartTimePassed(), RETURNED], S, [ReportStarted(), RestartAfter(1.0)]),
        (Restart.ALWAYS, [RETURNED], F, [RestartAfter(1.0)]),
        (Restart.ON_FAILURE, [StartTimePassed(), RAISED], F, [ReportStarted(), HandOver(RAISED.error)]),
        (Restart.NEVER, [RAISED], F, []),
        (Restart.ALWAYS, [StartReturned(), GONE], S, [ReportStarted()]),
        (Restart.ALWAYS, [StartReturned(), GONE, StartReturned()], R, [ReportStarted()]),
        (Restart.ALWAYS, [GONE, ERROR], F, [HandOver(ERROR.error)]),
        (Restart.ALWAYS, [StopRequested()], STOPPING, []),
        (Restart.ALWAYS, [StartTimePassed(), StopRequested()], STOPPING, [ReportStarted()]),
        (Restart.ON_FAILURE, [DONE, StopRequested()], C, [ReportStarted()]),
        (Restart.ALWAYS, [DONE, StopRequested()], F, [RestartAfter(1.0)]),
    ],
)
def test_the_phase_and_the_actions_after(
    restart: Restart, events: Sequence[RunEvent], phase: RunPhase, actions: list[RunAction]
) -> None:
    run, done = live(*events, restart=restart)
    assert (run.phase, done) == (phase, actions)


def test_the_pause_doubles_with_each_early_end_up_to_five_minutes() -> None:
    _, actions = live(*[event for _ in range(12) for event in (DONE, RestartDue())])
    pauses = [action.seconds for action in actions if isinstance(action, RestartAfter)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_the_pause_begins_anew_once_the_command_was_running() -> None:
    _, actions = live(DONE, RestartDue(), DONE, RestartDue(), StartTimePassed(), DONE, RestartDue(), DONE)
    assert actions == [RestartAfter(1), RestartAfter(2), ReportStarted(), RestartAfter(1), RestartAfter(1)]


def test_each_early_end_counts_as_a_failure_until_the_command_runs() -> None:
    failing, _ = live(DONE, RestartDue(), DONE, RestartDue(), DONE)
    assert (failing.failures, failing.restarts, failing.has_run) == (3, 2, False)
    assert (failing.exit_code, failing.last_error) == (0, "the command ended with exit code 0")
    recovered, _ = live(DONE, RestartDue(), DONE, RestartDue(), StartTimePassed())
    assert (recovered.failures, recovered.restarts, recovered.has_run, recovered.last_error) == (0, 2, True, "")


def test_the_election_learns_of_the_start_once_however_often_the_command_is_restarted() -> None:
    _, actions = live(StartTimePassed(), DONE, RestartDue(), StartTimePassed(), DONE)
    assert actions.count(ReportStarted()) == 1


def test_a_service_that_is_started_again_keeps_the_reason_until_it_runs() -> None:
    again, _ = live(StartReturned(), GONE)
    assert (again.restarts, again.failures, again.last_error) == (1, 0, "it answered 404")
    assert live(StartReturned(), GONE, StartReturned())[0].last_error == ""


def test_only_a_run_that_returns_can_complete_for_good() -> None:
    assert live(RETURNED, restart=Restart.ON_FAILURE, once=True)[0].is_final
    assert not live(RAISED, restart=Restart.ON_FAILURE, once=True)[0].is_final


def test_a_phase_begins_when_its_event_happens() -> None:
    assert live(StartTimePassed())[0].since == 1.0
    assert live(StartTimePassed(), StartReturned())[0].since == 1.0
    assert live(StartTimePassed(), DONE, RestartDue())[0].since == 3.0


def test_a_failure_keeps_exit_code_output_and_one_line_of_the_error() -> None:
    run, _ = live(BROKEN)
    assert (run.exit_code, run.output, run.failures) == (7, ("boom",), 1)
    assert live(ERROR)[0].last_error == "ValueError: no words"


def test_a_job_may_fail_before_its_start_could_be_called() -> None:
    run, action = advance(RunPolicy(), None, ERROR, 1.0)
    assert (run.phase, action) == (F, HandOver(ERROR.error))


def test_only_a_job_that_runs_once_completes_for_good() -> None:
    assert live(DONE, restart=Restart.ON_FAILURE, once=True)[0].is_final
    assert not live(DONE, restart=Restart.ON_FAILURE)[0].is_final
    assert not live(BROKEN, restart=Restart.ON_FAILURE, once=True)[0].is_final


@pytest.mark.parametrize("event", EVERY_EVENT)
def test_after_a_stop_nothing_changes_the_status(event: RunEvent) -> None:
    stopping, actions = live(StopRequested())
    assert live(StopRequested(), event) == (stopping, actions)


@pytest.mark.parametrize("event", EVERY_EVENT)
def test_after_it_has_completed_nothing_changes_the_status(event: RunEvent) -> None:
    completed, actions = live(DONE, restart=Restart.ON_FAILURE)
    assert live(DONE, event, restart=Restart.ON_FAILURE) == (completed, actions)


@pytest.mark.parametrize("event", [each for each in EVERY_EVENT if each != RestartDue()])
def test_only_the_first_failure_counts(event: RunEvent) -> None:
    failed, actions = live(BROKEN)
    assert live(BROKEN, event) == (failed, actions)
