"""Waiting, claiming and the fair share, on virtual time."""

import pytest

from masterjob.election.core.actions import Abandon, StartJob
from masterjob.election.core.commands import (
    Claim,
    EnsureLocks,
    ListVacancies,
    Release,
    Renew,
)
from masterjob.election.core.events import (
    Declare,
    LocksChanged,
    Reply,
)
from masterjob.election.timing import Timing
from masterjob.election.values import Term
from tests.election.harness import TIMING, ElectorHarness, single


def test_a_free_lock_is_claimed_and_its_job_started() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    assert single(harness.actions, StartJob).term == term
    assert harness.database.tables.locks["a"].holder == "me/1"


def test_rows_are_ensured_before_vacancies_are_listed_or_claimed() -> None:
    harness = ElectorHarness()
    harness.declare("a")
    harness.answer_all(except_for=EnsureLocks)
    harness.advance(1.0, except_for=EnsureLocks)
    assert not harness.pending(ListVacancies, Claim)


def test_a_name_that_the_database_cannot_store_stops_no_other_lock() -> None:
    harness = ElectorHarness()
    names = [f"lock-{number}" for number in range(6)]
    harness.declare(*names, "日本")
    for _ in range(20):
        for ensure in harness.pending(EnsureLocks):
            if "日本" in ensure.lock_names:  # type: ignore[attr-defined]
                harness.fail(ensure, "no such character")
        harness.advance(0.5, except_for=EnsureLocks)
        for ensure in harness.pending(EnsureLocks):
            if "日本" not in ensure.lock_names:  # type: ignore[attr-defined]
                harness.answer(ensure)
    harness.advance(1.0, except_for=EnsureLocks)
    assert sorted(start.term.lock_name for start in harness.actions_of(StartJob)) == names
    assert harness.elector.explain("日本") == "its row cannot be written: no such character"


def test_nothing_is_claimed_before_the_initial_delay_is_over() -> None:
    harness = ElectorHarness()
    harness.submit(Declare("a", TIMING, init_delay=2.0))
    harness.answer_all()
    harness.advance(1.9)
    assert not harness.actions_of(StartJob)
    harness.advance(0.3)
    assert harness.actions_of(StartJob)


def test_a_lock_that_another_holds_is_waited_for() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    harness.store.ensure_locks(["a"])
    harness.store.claim("rival/1", ["a"])
    harness.declare("a")
    harness.answer_all()
    harness.advance(1.0)
    assert not harness.actions_of(Claim)


def test_the_grant_is_checked_again_and_nothing_starts_on_trust_that_is_over() -> None:
    harness = ElectorHarness()
    harness.declare("a")
    harness.answer_all(except_for=Claim)
    harness.advance(0.1, except_for=Claim)
    (claim,) = harness.pending(Claim)
    harness.now += TIMING.trust_duration
    harness.answer(claim)
    assert not harness.actions_of(StartJob)
    (release,) = harness.pending(Release)
    harness.answer(release)
    assert harness.database.tables.locks["a"].holder is None


def test_a_lock_is_claimed_only_with_a_heartbeat_of_trust_left() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    harness.store.ensure_locks(["a"])
    (old,) = harness.store.claim("rival/1", ["a"])
    harness.declare("a", timing=Timing.of(1.0, stop_timeout=0.5, max_heartbeat_retry_count=0))
    harness.answer_all()
    harness.next_heartbeat()
    harness.advance(0.5, except_for=Renew)  # 0.94 s of trust are left, and a heartbeat takes 1 s
    harness.store.release(["rival/1"], [old])
    harness.submit(LocksChanged())
    harness.answer_all(except_for=Renew)
    harness.advance(0.06, except_for=Renew)
    assert not harness.actions_of(Claim)
    harness.answer(harness.next_heartbeat())
    harness.answer_all()
    harness.advance(0.06)
    assert harness.actions_of(Claim)


def test_a_claim_whose_reply_was_lost_starts_nothing_and_is_released_within_two_heartbeats() -> None:
    harness = ElectorHarness()
    harness.declare("a")
    harness.answer_all(except_for=Claim)
    harness.advance(0.1, except_for=Claim)
    (claim,) = harness.pending(Claim)
    harness.lose_reply(claim)
    term = harness.database.tables.locks["a"].term
    harness.advance(2 * TIMING.heartbeat_interval)
    assert Term("a", term) in [term for release in harness.actions_of(Release) for term in release.terms]
    harness.advance(1.0)
    assert single(harness.actions, StartJob).term.number > term


def test_an_unanswered_claim_is_given_up_and_its_late_answer_ignored() -> None:
    harness = ElectorHarness()
    harness.declare("a")
    harness.answer_all(except_for=Claim)
    harness.advance(0.1, except_for=Claim)
    (claim,) = harness.pending(Claim)
    harness.advance(5.5, except_for=Claim)
    assert claim in [abandoned.command for abandoned in harness.actions_of(Abandon)]
    harness.answer(claim)
    assert not harness.actions_of(StartJob)


def test_a_session_that_the_database_evicted_gets_no_grant() -> None:
    harness = ElectorHarness()
    harness.declare("a")
    harness.answer_all(except_for=Claim)
    harness.store.close_session("me/1")
    harness.advance(0.1, except_for=Renew)
    assert not harness.actions_of(StartJob)


def test_rows_that_a_promoted_replica_lost_are_written_again() -> None:
    harness = ElectorHarness()
    empty = harness.database.snapshot()
    harness.add_rival()
    harness.store.ensure_locks(["a"])
    harness.store.claim("rival/1", ["a"])
    harness.declare("a")
    harness.answer_all()
    harness.advance(0.5)
    harness.database.tables = empty
    harness.advance(2 * TIMING.check_master_interval)
    assert harness.actions_of(StartJob)


def test_an_instance_first_claims_its_fair_share_and_after_a_quarter_second_the_rest() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    names = [f"lock-{number}" for number in range(10)]
    harness.declare(*names)
    harness.answer_all()
    harness.advance(0.1)
    assert len(harness.actions_of(StartJob)) == 5
    harness.advance(0.3)
    assert len(harness.actions_of(StartJob)) == 10


def test_what_it_holds_already_counts_towards_the_fair_share() -> None:
    harness = ElectorHarness()
    harness.become_master("a", "b")
    harness.add_rival()
    harness.declare("c")
    harness.answer_all()
    harness.advance(0.1)
    assert len(harness.actions_of(StartJob)) == 2


def test_an_instance_alone_claims_everything_at_once() -> None:
    harness = ElectorHarness()
    harness.declare("a", "b", "c")
    harness.answer_all()
    assert len(harness.actions_of(StartJob)) == 3


def test_an_instance_that_is_not_alone_waits_briefly_before_it_claims() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    harness.declare("a")
    harness.answer_all()
    assert not harness.actions_of(StartJob)
    harness.advance(0.05)
    assert harness.actions_of(StartJob)


def test_a_grant_of_a_session_that_was_evicted_meanwhile_is_worth_nothing() -> None:
    harness = ElectorHarness()
    harness.declare("a")
    harness.answer_all(except_for=Claim)
    (claim,) = harness.pending(Claim)
    granted = claim.execute(harness.store)
    harness.store.close_session("me/1")
    harness.advance(1.0, except_for=(Claim, Renew))
    harness.answer(harness.pending(Renew)[0])
    harness.pending_commands.remove(claim)
    harness.submit(Reply(claim, granted))
    assert not harness.actions_of(StartJob)
    assert not harness.actions_of(Release)
    assert harness.elector.explain("a") == "waiting for the lock to be free"


def test_a_grant_is_served_with_any_trust_left() -> None:
    harness = ElectorHarness()
    harness.declare("a")
    harness.answer_all(except_for=Claim)
    (claim,) = harness.pending(Claim)
    harness.now = 100.0 + TIMING.trust_duration - 0.1
    harness.answer(claim)
    assert harness.actions_of(StartJob)


@pytest.mark.parametrize(("won", "delay"), [(0, 0.25), (1, 0.02)])
def test_an_instance_that_won_a_part_of_its_claim_chooses_again_before_the_others(won: int, delay: float) -> None:
    harness = ElectorHarness()
    harness.declare("a", "b")
    harness.answer_all(except_for=Claim)
    harness.advance(0.1, except_for=Claim)
    (claim,) = harness.pending(Claim)
    harness.add_rival()
    harness.store.claim("rival/1", ["a", "b"][won:])
    harness.answer(claim)
    scans = len(harness.actions_of(ListVacancies))
    if not won:
        harness.advance(delay - 0.01)
        assert len(harness.actions_of(ListVacancies)) == scans
    harness.advance(delay)
    assert len(harness.actions_of(ListVacancies)) == scans + 1
