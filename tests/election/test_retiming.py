"""Moves between sessions, on virtual time."""

import pytest

from masterjob.election.core.actions import SetStopTimeout, StartJob, StopJob
from masterjob.election.core.commands import (
    Move,
)
from masterjob.election.core.events import (
    Declare,
)
from masterjob.election.timing import Timing
from tests.election.harness import SLOW, TIMING, ElectorHarness, single


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
