"""After the database was promoted, on virtual time. The lease is 3 s, a heartbeat interval 1 s."""

import pytest

from masterjob.election.core.actions import Notice, StartJob, StopJob
from masterjob.election.core.commands import Claim, Evict, Move, ReadHeldTerms, Renew
from masterjob.election.core.events import Declare, Reply
from masterjob.election.core.quarantine import EndQuarantine
from masterjob.election.core.state import Serving
from masterjob.election.values import Incarnation, Inventory
from tests.election.harness import SLOW, TIMING, ElectorHarness, single
from tests.simulation.tables import Tables


def promote(harness: ElectorHarness, tables: Tables | None = None, name: str = "promoted") -> None:
    """Replace the database by a replica, with what it had then."""
    harness.database.name = name
    harness.database.tables = tables or harness.database.snapshot()


def candidate_at_a_promotion(lease_ms: int = 3000) -> ElectorHarness:
    """Return a candidate for a lock that becomes free with a promotion; ``lease_ms``: of another session."""
    harness = ElectorHarness()
    harness.add_rival(lease_ms=lease_ms)
    harness.store.ensure_locks(["a"])
    (term,) = harness.store.claim("rival/1", ["a"])
    harness.declare("a")
    harness.answer_all()
    promote(harness)
    harness.store.release(["rival/1"], [term])
    return harness


def test_nothing_is_claimed_until_the_longest_lease_has_passed_since_the_promotion_was_seen() -> None:
    harness = candidate_at_a_promotion()
    harness.advance(1.0)
    assert harness.database.tables.incarnation.is_quarantined
    harness.advance(2.9)
    assert not harness.actions_of(StartJob)
    harness.advance(0.4)
    assert len(harness.actions_of(StartJob)) == 1


def test_the_longest_lease_of_all_sessions_counts() -> None:
    harness = candidate_at_a_promotion(lease_ms=9000)
    harness.advance(9.8)
    assert not harness.actions_of(StartJob)
    harness.advance(0.5)
    assert harness.actions_of(StartJob)


def test_the_lease_of_a_session_of_our_own_counts_although_the_database_has_lost_it() -> None:
    harness = ElectorHarness()
    harness.store.ensure_locks(["a"])
    before = harness.database.snapshot()
    harness.become_master("a")
    promote(harness, before)
    harness.advance(1.0)
    assert harness.database.tables.incarnation.lease_ms == 0
    harness.advance(2.8)
    assert not harness.actions_of(EndQuarantine)


def test_a_step_of_the_databases_clock_does_not_shorten_it() -> None:
    harness = candidate_at_a_promotion()
    harness.advance(1.0)
    harness.clock_offset = 3600.0
    harness.advance(2.9)
    assert not harness.actions_of(StartJob)


def test_while_it_lasts_nothing_is_claimed_in_vain() -> None:
    harness = candidate_at_a_promotion()
    harness.advance(1.0)
    before = len(harness.actions_of(Claim))
    harness.advance(2.9)
    assert len(harness.actions_of(Claim)) == before


def test_a_dead_session_is_evicted_when_it_has_ended() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    harness.store.ensure_locks(["a"])
    harness.store.claim("rival/1", ["a"])
    harness.declare("a")
    harness.answer_all()
    promote(harness)
    harness.advance(3.9)
    assert not harness.actions_of(Evict), "it was silent for longer than its lease"
    harness.advance(0.4)
    assert len(harness.actions_of(Evict)) == 1
    assert harness.actions_of(StartJob)


def test_a_second_promotion_begins_it_anew() -> None:
    harness = candidate_at_a_promotion()
    harness.advance(3.0)
    promote(harness, name="promoted again")
    harness.advance(3.8)
    assert not harness.actions_of(StartJob)
    harness.advance(0.4)
    assert harness.actions_of(StartJob)


def test_an_end_that_failed_is_written_again() -> None:
    harness = candidate_at_a_promotion()
    harness.advance(4.1, except_for=EndQuarantine)
    (end,) = harness.pending(EndQuarantine)
    harness.fail(end)
    harness.advance(1.1)
    assert harness.actions_of(StartJob)


def test_an_end_that_another_instance_has_written_is_seen_with_the_next_heartbeat() -> None:
    harness = candidate_at_a_promotion()
    harness.advance(1.5)
    assert harness.store.end_quarantine(harness.database.tables.incarnation)
    harness.advance(1.1)
    assert harness.actions_of(StartJob)


def test_an_older_answer_does_not_begin_it_again() -> None:
    harness = candidate_at_a_promotion()
    harness.advance(1.5)
    old = harness.database.tables.incarnation
    harness.advance(2.6)
    renew = harness.next_heartbeat()
    answer = Inventory(0, 0, incarnation=old)
    assert not harness.database.tables.incarnation.is_quarantined
    harness.pending_commands.remove(renew)
    harness.submit(Reply(renew, answer))
    assert harness.elector._state.database.quarantine is None


def test_a_living_master_renews_and_goes_on() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    promote(harness)
    harness.advance(10.0)
    assert harness.elector.current_term("a") == term
    assert not harness.actions_of(StopJob)
    assert not harness.database.tables.incarnation.is_quarantined, "also a master ends it"


def test_the_log_and_the_reason_why_nothing_runs_name_the_promotion() -> None:
    harness = candidate_at_a_promotion()
    harness.advance(1.0)
    since = harness.database.tables.incarnation.since_ms
    reason = Incarnation("", since, 3000).reason
    assert harness.elector.explain("a") == reason
    assert [notice.text for notice in harness.actions_of(Notice)] == [reason]
    harness.advance(5.0)
    assert harness.elector.explain("a") != reason
    assert len(harness.actions_of(Notice)) == 1


def test_the_reason_has_the_times_of_the_databases_clock() -> None:
    assert Incarnation("x", 1_700_000_000_001, 24_000).reason == (
        "the database was promoted at 2023-11-14T22:13:20Z: no instance claims a lock before 2023-11-14T22:13:45Z"
    )


# --- what the old primary confirmed


def master_of_a_lost_term() -> ElectorHarness:
    """Return a master whose session was replicated, and whose claim was not."""
    harness = ElectorHarness()
    harness.declare("a")
    harness.answer_all(except_for=Claim)
    harness.advance(0.1, except_for=Claim)
    before = harness.database.snapshot()
    harness.answer_all()
    assert harness.elector.current_term("a")
    promote(harness, before)
    return harness


def test_a_renewal_by_a_database_that_lacks_a_term_does_not_extend_the_trust_in_it() -> None:
    harness = master_of_a_lost_term()
    term = harness.elector.current_term("a")
    assert term is not None
    before = harness.elector.trusted_until(term)
    harness.advance(TIMING.trust_duration - 0.2, except_for=ReadHeldTerms)
    assert harness.elector.trusted_until(term) == before
    harness.advance(0.3, except_for=ReadHeldTerms)
    assert single(harness.actions, StopJob).reason == "no heartbeat was confirmed for 2.44s"


def test_a_term_that_the_database_lacks_is_stopped_when_it_is_read_in_full() -> None:
    harness = master_of_a_lost_term()
    harness.advance(1.1)
    assert single(harness.actions, StopJob).reason == "the database no longer names it master"
    assert len(harness.actions_of(Renew)) == 1


def test_once_all_is_compared_renewals_count_again() -> None:
    harness = ElectorHarness()
    kept = harness.become_master("a")
    before = harness.database.snapshot()
    harness.become_master("b")
    promote(harness, before)
    harness.advance(5.0)
    assert harness.elector.current_term("a") == kept
    assert [stop.term.lock_name for stop in harness.actions_of(StopJob)] == ["b"]


def test_a_claim_that_was_answered_after_the_promotion_was_seen_is_not_served() -> None:
    harness = ElectorHarness()
    harness.declare("a")
    harness.advance(0.5, except_for=Claim)
    (claim,) = harness.pending(Claim)
    before = harness.database.snapshot()
    granted = claim.execute(harness.store)
    promote(harness, before)
    harness.advance(1.0, except_for=Claim)
    harness.pending_commands.remove(claim)
    harness.submit(Reply(claim, granted))
    assert not harness.actions_of(StartJob)
    harness.advance(4.0)
    assert harness.actions_of(StartJob)


def test_a_move_that_was_answered_after_the_promotion_was_seen_is_in_doubt() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.submit(Declare("a", SLOW))
    harness.answer_all(except_for=Move)
    (move,) = harness.pending(Move)
    before = harness.database.snapshot()
    holder = move.execute(harness.store)
    promote(harness, before)
    harness.advance(1.0, except_for=Move)
    harness.pending_commands.remove(move)
    harness.submit(Reply(move, holder))
    phase = harness.elector._state.locks["a"].phase
    assert isinstance(phase, Serving)
    assert len(phase.sessions) == 2
    harness.advance(1.5)
    assert harness.database.tables.locks["a"].holder == "me/2"


@pytest.mark.parametrize("beat_on_the_replica", [2, 5])
def test_what_was_seen_of_a_session_before_the_promotion_does_not_count(beat_on_the_replica: int) -> None:
    """A replica may have had a lower beat, and then reach the one that was seen on the old primary."""
    harness = ElectorHarness()
    harness.add_rival()
    harness.store.ensure_locks(["a"])
    harness.store.claim("rival/1", ["a"])
    rival = harness.database.tables.sessions["rival/1"]
    rival.beat = 5
    harness.declare("a")
    harness.answer_all()
    harness.advance(2.5)
    promote(harness)
    rival = harness.database.tables.sessions["rival/1"]
    rival.beat = beat_on_the_replica
    harness.database.note_promotion()
    harness.store.end_quarantine(harness.database.tables.incarnation)
    rival.heartbeat_ms = harness.database.clock_ms()
    harness.advance(2.9)
    assert "rival/1" in harness.database.tables.sessions
    assert not harness.actions_of(StartJob)
