"""Failing databases, unexpected answers, and the end, on virtual time."""

import pytest

from masterjob.election.core.actions import Abandon, RecordTransition, StartJob, StopJob
from masterjob.election.core.commands import (
    COMMAND_TIMEOUT,
    Claim,
    CloseSession,
    EnsureLocks,
    ListVacancies,
    OpenSession,
    Release,
    Renew,
    StoreCommand,
)
from masterjob.election.core.events import (
    Declare,
    JobRunChanged,
    JobStopped,
    Reply,
    Shutdown,
    StepDown,
    Tick,
    Withdraw,
)
from masterjob.election.timing import Timing
from masterjob.job_status import RunPhase, RunStatus
from tests.election.harness import SLOW, TIMING, ElectorHarness


@pytest.mark.parametrize("masters", [(), ("a", "b")])
def test_a_database_that_refuses_everything_is_not_queried_in_a_loop(masters: tuple[str, ...]) -> None:
    harness = ElectorHarness()
    if masters:
        harness.become_master(*masters)
    harness.declare("c", "d")
    harness.submit(StepDown("a", "asked"))
    for stop in harness.actions_of(StopJob):
        harness.submit(JobStopped(stop.term))
    before, end = len(harness.actions_of(StoreCommand)), harness.now + 30.0
    while harness.now < end:
        for command in list(harness.pending_commands):
            harness.fail(command, "connection refused")
        harness.now += (
            0.001
            if harness.pending_commands
            else max(0.001, min(harness.elector.next_tick_at(), end) - harness.now)
        )
        harness.submit(Tick())
    assert len(harness.actions_of(StoreCommand)) - before < 30 * 5


def test_a_database_that_fails_all_but_the_heartbeats_is_not_queried_in_a_loop() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    harness.declare("a")
    before, end = len(harness.actions_of(StoreCommand)), harness.now + 30.0
    while harness.now < end:
        for command in list(harness.pending_commands):
            if isinstance(command, OpenSession | Renew | ListVacancies):
                harness.answer(command)
            else:
                harness.fail(command, "permission denied")
        harness.now += (
            0.001
            if harness.pending_commands
            else max(0.001, min(harness.elector.next_tick_at(), end) - harness.now)
        )
        harness.submit(Tick())
    assert len(harness.actions_of(StoreCommand)) - before < 30 * 6


def test_a_command_without_an_answer_is_given_up_when_its_time_is_over() -> None:
    harness = ElectorHarness()
    harness.declare("a", timing=Timing.of(8.0))
    harness.answer_all(except_for=EnsureLocks)
    (ensure,) = harness.pending(EnsureLocks)
    harness.now += 0.1
    while not harness.actions_of(Abandon):
        harness.submit(Tick())
        harness.now = harness.elector.next_tick_at()
        harness.submit(Tick())
    assert harness.now == pytest.approx(ensure.sent + COMMAND_TIMEOUT)
    assert harness.elector.explain("a") == "its row cannot be written: no answer in time"


@pytest.mark.parametrize("phase", list(RunPhase))
def test_the_status_of_a_run_goes_into_the_history_and_influences_nothing(phase: RunPhase) -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.answer_all()
    next_tick_at = harness.elector.next_tick_at()
    actions = harness.submit(JobRunChanged(term, RunStatus(phase, harness.now)))
    assert all(isinstance(action, RecordTransition) for action in actions)
    assert harness.elector.current_term("a") == term
    assert harness.elector.next_tick_at() == next_tick_at


def test_a_shutdown_stops_the_jobs_then_releases_then_removes_the_session() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(Shutdown("the process ends"))
    assert harness.actions_of(StopJob)
    assert not harness.actions_of(CloseSession)
    harness.submit(JobStopped(term))
    harness.answer_all()
    harness.submit(Tick())
    harness.answer_all()
    assert harness.database.tables.locks["a"].holder is None
    assert not harness.database.tables.sessions
    assert harness.elector.is_idle


def test_a_declaration_after_a_shutdown_is_ignored() -> None:
    """For example a change of timing that was queued when the shutdown began."""
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(Shutdown("the process ends"))
    harness.submit(Declare("a", SLOW))
    harness.submit(Declare("b", TIMING))
    harness.submit(JobStopped(term))
    harness.answer_all()
    harness.advance(10.0)
    assert len(harness.actions_of(StartJob)) == 1
    assert harness.elector.is_idle


def test_a_lock_that_is_withdrawn_while_it_is_being_claimed_is_released() -> None:
    harness = ElectorHarness()
    harness.declare("a", "b")
    harness.answer_all(except_for=Claim)
    harness.advance(0.1, except_for=Claim)
    harness.submit(Withdraw("a", "closed"))
    harness.answer_all()
    assert harness.database.tables.locks["a"].holder is None
    assert [start.term.lock_name for start in harness.actions_of(StartJob)] == ["b"]
    assert harness.elector.explain("a") is None


def test_a_hundred_locks_released_at_once_go_in_few_statements() -> None:
    harness = ElectorHarness()
    names = [f"lock-{number}" for number in range(100)]
    harness.become_master(*names)
    harness.submit(Shutdown("the process ends"))
    for stop in harness.actions_of(StopJob):
        harness.submit(JobStopped(stop.term))
    harness.answer_all()
    assert len(harness.actions_of(Release)) <= 3


@pytest.mark.parametrize("answer", [None, "nonsense", [7]])
def test_an_answer_of_an_unexpected_shape_is_an_error(answer: object) -> None:
    harness = ElectorHarness()
    harness.declare("a")
    harness.answer_all(except_for=Claim)
    (claim,) = harness.pending(Claim)
    with pytest.raises((AttributeError, TypeError)):
        harness.submit(Reply(claim, answer))
