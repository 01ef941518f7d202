"""Moves between sessions, on virtual time."""

import pytest

from masterjob.election.core.actions import SetStopTimeout, StartJob, StopJob
from masterjob.election.core.commands import Claim, Move, ReadHeldTerms, Release, Renew
from masterjob.election.core.events import Declare, JobStopped, Reply, StepDown, Withdraw
from masterjob.election.core.state import Serving
from masterjob.election.timing import Timing
from tests.election.harness import SLOW, TIMING, ElectorHarness, single

OTHER = Timing.of(1.5, stop_timeout=0.5, check_master_interval=5.0)


def test_a_lock_whose_timing_changes_goes_to_another_session_and_keeps_its_term() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(Declare("a", SLOW))
    harness.answer_all()
    assert harness.database.tables.locks["a"].holder == "me/2"
    assert harness.elector.current_term("a") == term
    assert not harness.actions_of(StopJob)


def test_until_a_move_is_confirmed_the_trust_is_the_smaller_of_both() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    before = harness.elector.trusted_until(term)
    harness.submit(Declare("a", SLOW))
    harness.answer_all(except_for=Move)
    assert harness.elector.trusted_until(term) == pytest.approx(before)
    harness.answer_all()
    assert harness.elector.trusted_until(term) == pytest.approx(harness.now + SLOW.trust_duration)


def test_a_job_gets_a_shorter_stop_timeout_before_its_lease_is_shorter_and_a_longer_one_after() -> None:
    harness = ElectorHarness()
    long, short = SLOW, Timing.of(1.0, stop_timeout=0.1, check_master_interval=5.0)
    harness.declare("a", timing=long)
    harness.answer_all()
    harness.advance(0.5)
    assert [each.stop_timeout for each in harness.actions_of(SetStopTimeout)] == [0.5]
    set_at = harness.actions.index(harness.actions_of(SetStopTimeout)[0])
    assert set_at < harness.actions.index(single(harness.actions, StartJob))

    harness.actions.clear()
    harness.submit(Declare("a", short))
    harness.answer_all()
    assert {each.stop_timeout for each in harness.actions_of(SetStopTimeout)} == {0.1}
    set_at = harness.actions.index(harness.actions_of(SetStopTimeout)[0])
    assert set_at < harness.actions.index(single(harness.actions, Move))

    harness.actions.clear()
    harness.submit(Declare("a", long))
    harness.answer_all(except_for=Move)
    assert {each.stop_timeout for each in harness.actions_of(SetStopTimeout)} == {0.1}
    harness.answer_all()
    assert harness.actions_of(SetStopTimeout)[-1].stop_timeout == 0.5


@pytest.mark.parametrize("happened", [True, False])
def test_a_move_without_an_answer_is_retried_and_ends_well_either_way(happened: bool) -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(Declare("a", SLOW))
    harness.answer_all(except_for=Move)
    (move,) = harness.pending(Move)
    if happened:
        harness.lose_reply(move)
    else:
        harness.fail(move)
    harness.advance(2.0)
    assert harness.database.tables.locks["a"].holder == "me/2"
    assert harness.elector.current_term("a") == term
    assert not harness.actions_of(StopJob)


def test_a_return_to_a_session_that_an_unanswered_move_would_leave_ends_the_term() -> None:
    """That move may still be executed; then the database names another session than the master believes."""
    harness = ElectorHarness()
    harness.become_master("a", "keeps the session")
    harness.submit(Declare("a", SLOW))
    harness.answer_all(except_for=Move)
    (late,) = harness.pending(Move)
    harness.fail(late)
    harness.advance(2.0)
    assert harness.database.tables.locks["a"].holder == "me/2"
    harness.submit(Declare("a", TIMING))
    harness.answer_all()
    harness.advance(1.5)
    assert "a" in [stop.term.lock_name for stop in harness.actions_of(StopJob)]


def test_a_session_that_nothing_uses_any_more_is_removed() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.submit(Declare("a", SLOW))
    harness.answer_all()
    harness.advance(0.1)
    assert set(harness.database.tables.sessions) == {"me/2"}


def test_a_lock_whose_timing_changes_while_a_move_is_in_doubt_finishes_that_move_first() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(Declare("a", SLOW))
    harness.answer_all(except_for=Move)
    harness.fail(harness.pending(Move)[0])
    harness.submit(Declare("a", OTHER))
    harness.advance(3.0)
    targets = [move.to_session_id for move in harness.actions_of(Move)]
    assert targets == ["me/2", "me/2", "me/3"]
    assert harness.database.tables.locks["a"].holder == "me/3"
    assert harness.elector.current_term("a") == term


def test_a_move_that_failed_is_retried_after_a_second() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.submit(Declare("a", SLOW))
    harness.answer_all(except_for=Move)
    harness.fail(harness.pending(Move)[0])
    harness.advance(0.99)
    assert len(harness.actions_of(Move)) == 1
    harness.advance(0.02)
    assert len(harness.actions_of(Move)) == 2


def test_a_term_does_not_move_to_a_session_that_is_hardly_trusted() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    harness.store.ensure_locks(["b"])
    harness.store.claim("rival/1", ["b"])
    harness.become_master("a")
    harness.declare("b", timing=SLOW)
    harness.answer_all()
    slow = harness.elector._state.sessions[SLOW]
    while slow.can_claim(harness.now):
        harness.advance(0.1, except_for=Renew)
        for renew in harness.pending(Renew):
            if renew.connection_name == "me/1":
                harness.answer(renew)
    assert slow.trust_left(harness.now) > 0
    harness.submit(Declare("a", SLOW))
    assert harness.elector.current_term("a") is not None
    harness.answer_all(except_for=Renew)
    assert not harness.actions_of(Move)


@pytest.mark.parametrize("answered", [True, False])
def test_the_outcome_of_a_move_whose_term_is_over_changes_nothing(answered: bool) -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(Declare("a", SLOW))
    harness.answer_all(except_for=Move)
    (move,) = harness.pending(Move)
    harness.submit(StepDown("a", "asked"))
    if answered:
        harness.answer(move)
    else:
        harness.fail(move)
    assert harness.elector.explain("a") == "stopping: asked"
    harness.submit(JobStopped(term))
    harness.answer_all()
    assert harness.database.tables.locks["a"].holder is None


@pytest.mark.parametrize("outcome", ["answered", "failed", "in flight"])
def test_what_was_read_before_a_move_says_nothing_about_its_term(outcome: str) -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.store.ensure_locks(["unexpected"])
    harness.store.claim("me/1", ["unexpected"])
    harness.advance(1.0, except_for=ReadHeldTerms)
    (read,) = harness.pending(ReadHeldTerms)
    harness.submit(Declare("a", SLOW))
    harness.answer_all(except_for=(ReadHeldTerms, Release, Move))
    if outcome == "answered":
        harness.answer(harness.pending(Move)[0])
    elif outcome == "failed":
        harness.fail(harness.pending(Move)[0])
    harness.pending_commands.remove(read)
    harness.submit(Reply(read, ()))
    assert harness.elector.current_term("a") == term
    assert not harness.actions_of(StopJob)


def test_a_moved_term_is_as_old_as_it_was() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    phase = harness.elector._state.locks["a"].phase
    assert isinstance(phase, Serving)
    harness.advance(1.0)
    harness.submit(Declare("a", SLOW))
    harness.answer_all(except_for=Move)
    harness.fail(harness.pending(Move)[0])
    harness.advance(2.0)
    moved = harness.elector._state.locks["a"].phase
    assert isinstance(moved, Serving)
    assert moved.since == phase.since


def test_a_lock_of_a_closed_session_that_a_promoted_replica_brought_back_is_released() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.submit(Declare("a", SLOW))
    harness.answer_all()
    harness.advance(0.1)
    assert set(harness.database.tables.sessions) == {"me/2"}
    harness.add_rival("me/1", "me")
    harness.store.ensure_locks(["b"])
    harness.store.claim("me/1", ["b"])
    harness.advance(SLOW.heartbeat_interval)
    assert harness.database.tables.locks["b"].holder is None
    assert harness.database.tables.locks["a"].holder == "me/2"


def test_a_timing_that_changed_while_the_claim_was_in_flight_counts_for_the_term() -> None:
    harness = ElectorHarness()
    harness.declare("a")
    harness.answer_all(except_for=Claim)
    harness.submit(Declare("a", SLOW))
    harness.answer_all()
    harness.advance(0.1)
    assert harness.database.tables.locks["a"].holder == "me/2"


def test_a_lock_that_was_retimed_and_withdrawn_leaves_no_session_behind() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(Declare("a", SLOW))
    harness.answer_all()
    harness.submit(Withdraw("a", "closed"))
    harness.submit(JobStopped(term))
    harness.answer_all()
    harness.advance(0.1)
    assert not harness.database.tables.sessions
    assert harness.elector.is_idle


def test_a_timing_that_changes_while_the_lock_is_being_claimed_counts_after_the_grant() -> None:
    harness = ElectorHarness()
    harness.declare("a", "b")
    harness.advance(0.1, except_for=Claim)
    harness.submit(Declare("a", SLOW))
    harness.answer_all()
    assert {name: lock.holder for name, lock in harness.database.tables.locks.items()} == {
        "a": "me/2",
        "b": "me/1",
    }
