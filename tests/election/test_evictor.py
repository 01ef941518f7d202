"""Evictions, on virtual time."""

import pytest

from masterjob.election.core.actions import Notice, StartJob
from masterjob.election.core.commands import (
    Evict,
    ListSessions,
    ListVacancies,
)
from masterjob.election.values import TransitionKind
from tests.election.harness import SLOW, ElectorHarness


def harness_with_dying_rival() -> ElectorHarness:
    harness = ElectorHarness()
    harness.add_rival()
    harness.store.ensure_locks(["a"])
    harness.store.claim("rival/1", ["a"])
    harness.declare("a")
    harness.answer_all()
    harness.advance(1.5)
    harness.store.renew("rival/1", "rival")
    return harness


def test_a_dead_masters_lock_is_taken_when_its_lease_has_passed() -> None:
    harness = harness_with_dying_rival()
    harness.advance(2.95)
    assert not harness.actions_of(Evict)
    harness.advance(0.2)
    assert len(harness.actions_of(StartJob)) == 1


def test_the_lease_that_counts_is_that_of_the_row_and_not_of_the_evictor() -> None:
    harness = harness_with_dying_rival()
    harness.database.tables.sessions["rival/1"].lease_ms = 30_000
    harness.advance(20.0)
    assert not harness.actions_of(StartJob)


def test_an_eviction_names_the_beat_that_was_seen_so_a_late_heartbeat_saves_the_session() -> None:
    harness = harness_with_dying_rival()
    harness.advance(3.1, except_for=Evict)
    (evict,) = harness.pending(Evict)
    harness.store.renew("rival/1", "rival")
    harness.answer(evict)
    assert "rival/1" in harness.database.tables.sessions


def test_the_history_says_how_long_the_evicted_was_silent() -> None:
    harness = harness_with_dying_rival()
    harness.advance(3.2)
    assert (TransitionKind.EVICTED, "rival was silent for 3.002s and was evicted") in harness.history()


def test_a_missed_eviction_is_followed_by_a_scan_not_by_another_attempt() -> None:
    harness = harness_with_dying_rival()
    harness.clock_offset = -60.0  # the database's clock steps back, so it does not call the session stale
    harness.advance(3.2)
    assert len(harness.actions_of(Evict)) <= 2
    assert not harness.actions_of(StartJob), "the database has to agree while the session may be alive"
    harness.advance(2.0)
    assert harness.actions_of(StartJob)


def test_an_eviction_that_is_blocked_blocks_no_other() -> None:
    """For example if a master froze in a guarded transaction, which locks its lock's row."""
    harness = ElectorHarness()
    for number, name in enumerate("ab"):
        harness.add_rival(f"rival/{number}", f"rival-{number}")
        harness.store.ensure_locks([name])
        harness.store.claim(f"rival/{number}", [name])
    harness.declare("a", "b")
    harness.answer_all()
    harness.advance(3.2, except_for=Evict)
    (evict,) = harness.pending(Evict)
    blocked_session_id = evict.session_id  # type: ignore[attr-defined]
    harness.advance(4.0, except_for=Evict)
    harness.fail(evict, "lock timeout")
    harness.advance(1.5, except_for=Evict)
    (other,) = harness.pending(Evict)
    assert other.session_id != blocked_session_id  # type: ignore[attr-defined]
    harness.answer(other)
    harness.advance(0.5, except_for=Evict)
    assert len(harness.actions_of(StartJob)) == 1
    harness.advance(4.0, except_for=Evict)
    (again,) = harness.pending(Evict)
    assert again.session_id == blocked_session_id  # type: ignore[attr-defined]
    assert again.sent >= evict.sent + 8.0, "our claims must have time in between"
    harness.answer(again)
    harness.advance(0.5)
    assert len(harness.actions_of(StartJob)) == 2


def test_an_eviction_that_failed_in_a_freeze_is_retried_as_if_there_had_been_none() -> None:
    harness = harness_with_dying_rival()
    harness.advance(3.2, except_for=Evict)
    (evict,) = harness.pending(Evict)
    harness.now += 4.0
    harness.fail(evict, "connection lost")
    harness.advance(2.0)
    assert harness.actions_of(StartJob)


def test_an_instance_that_was_too_late_to_evict_lists_vacancies_at_once() -> None:
    harness = harness_with_dying_rival()
    harness.advance(3.2, except_for=(Evict,))
    (evict,) = harness.pending(Evict)
    harness.store.evict("rival/1", evict.watched.row.beat, if_stale=False)  # type: ignore[attr-defined]
    harness.actions.clear()
    harness.answer(evict)
    assert harness.pending(ListVacancies) or harness.actions_of(ListVacancies)


def test_sessions_are_listed_once_a_heartbeat_interval_for_any_number_of_locks() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    names = [f"lock-{number}" for number in range(50)]
    harness.store.ensure_locks(names)
    harness.store.claim("rival/1", names)
    harness.declare(*names)
    harness.answer_all()
    before = len(harness.actions_of(ListSessions))
    for _ in range(10):
        harness.advance(1.0)
        harness.store.renew("rival/1", "rival")
    assert len(harness.actions_of(ListSessions)) - before == pytest.approx(10, abs=1)
    assert len(harness.actions_of(ListVacancies)) <= 4


def test_a_master_of_everything_lists_no_sessions() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    before = len(harness.actions_of(ListSessions))
    harness.advance(30.0)
    assert len(harness.actions_of(ListSessions)) == before


def test_after_an_eviction_that_did_not_succeed_the_sessions_are_listed_at_once_and_first() -> None:
    harness = harness_with_dying_rival()
    harness.advance(3.2, except_for=(Evict,))
    (evict,) = harness.pending(Evict)
    harness.clock_offset = -60.0
    harness.actions.clear()
    harness.answer(evict)
    assert harness.actions_of(ListSessions)
    assert not harness.actions_of(Evict)


def harness_whose_sessions_are_not_listed_yet() -> ElectorHarness:
    """Return a candidate whose lock another instance holds."""
    harness = ElectorHarness()
    harness.add_rival()
    harness.store.ensure_locks(["a"])
    harness.store.claim("rival/1", ["a"])
    harness.declare("a", timing=SLOW)
    harness.answer_all(except_for=ListSessions)
    return harness


def test_a_list_of_sessions_that_failed_is_repeated_after_a_second() -> None:
    harness = harness_whose_sessions_are_not_listed_yet()
    (session_list,) = harness.pending(ListSessions)
    harness.fail(session_list)
    harness.advance(0.99, except_for=ListSessions)
    assert not harness.pending(ListSessions)
    harness.advance(0.02, except_for=ListSessions)
    assert harness.pending(ListSessions)


def test_while_the_list_of_sessions_has_not_come_no_other_is_asked_for() -> None:
    harness = harness_whose_sessions_are_not_listed_yet()
    harness.advance(4.0, except_for=ListSessions)
    assert len(harness.actions_of(ListSessions)) == 1


def test_the_log_says_once_that_two_clocks_are_at_work_and_the_living_are_not_evicted() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    harness.store.ensure_locks(["a"])
    harness.store.claim("rival/1", ["a"])
    harness.declare("a")
    harness.answer_all()
    for _ in range(8):
        harness.advance(0.95)
        harness.store.renew("rival/1", "rival")
        harness.database.backdate("rival/1", 10_000)  # the node of its heartbeats has a clock that is behind
        harness.advance(0.05)
    assert "rival/1" in harness.database.tables.sessions
    (notice,) = harness.actions_of(Notice)
    assert notice.text.startswith("two clocks are at work: a heartbeat of rival ")
