"""What is compared with the database, and when, on virtual time."""

from masterjob.election.core.actions import StartJob, StopJob
from masterjob.election.core.commands import (
    Claim,
    ReadHeldTerms,
    ReadInventory,
    Release,
    Renew,
)
from masterjob.election.core.events import (
    JobStopped,
    LocksChanged,
    Reply,
)
from masterjob.election.values import Inventory, StopRequest, Term
from tests.election.harness import TIMING, ElectorHarness, single


def test_a_lock_that_the_database_gave_to_another_instance_is_stopped_within_a_heartbeat() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.add_rival()
    harness.database.tables.locks["a"].holder = "rival/1"
    harness.advance(1.0)
    assert single(harness.actions, StopJob).term == term


def test_a_lock_that_is_held_but_not_run_is_released_and_not_adopted() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.store.ensure_locks(["unexpected"])
    harness.store.claim("me/1", ["unexpected"])
    harness.advance(1.0)
    assert harness.database.tables.locks["unexpected"].holder is None
    assert [start.term.lock_name for start in harness.actions_of(StartJob)] == ["a"]


def test_the_inventory_is_checked_against_what_was_expected_when_it_was_sent() -> None:
    """A claim that was granted while the reply was in flight must not count as an orphan."""
    harness = ElectorHarness()
    harness.become_master("a")
    heartbeat = harness.next_heartbeat()
    harness.declare("b")
    harness.answer_all(except_for=Renew)
    assert harness.elector.current_term("b") is not None
    harness.answer(heartbeat)
    harness.answer_all()
    assert not harness.actions_of(StopJob)
    assert not harness.actions_of(Release)


def test_what_was_read_before_a_claim_says_nothing_about_it() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.store.ensure_locks(["unexpected"])
    harness.store.claim("me/1", ["unexpected"])
    harness.advance(1.0, except_for=ReadHeldTerms)
    (list_held_terms,) = harness.pending(ReadHeldTerms)
    rows = list_held_terms.execute(harness.store)
    harness.declare("b")
    harness.answer_all(except_for=ReadHeldTerms)
    harness.pending_commands.remove(list_held_terms)
    harness.submit(Reply(list_held_terms, rows))
    assert not harness.actions_of(StopJob)


def test_a_disabled_lock_is_stopped_with_the_next_heartbeat() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.database.disable("a")
    harness.advance(1.0)
    assert single(harness.actions, StopJob).term == term
    harness.submit(JobStopped(term))
    harness.answer_all()
    harness.advance(20.0)
    assert len(harness.actions_of(StartJob)) == 1


def test_a_term_that_was_requested_to_step_down_does_and_has_a_cooldown() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.store.request_step_down(term, "ann", "why not")
    harness.advance(1.0)
    harness.submit(JobStopped(term))
    harness.answer_all()
    assert harness.actions_of(StopJob)
    assert len(harness.actions_of(StartJob)) == 1
    harness.advance(2.0)
    assert len(harness.actions_of(StartJob)) == 2


def test_a_request_to_stop_an_earlier_term_is_not_obeyed() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    heartbeat = harness.next_heartbeat()
    harness.pending_commands.remove(heartbeat)
    late = StopRequest(Term("a", term.number - 1), "asked to step down", is_step_down=True)
    harness.submit(Reply(heartbeat, Inventory(1, term.number, (late,))))
    assert not harness.actions_of(StopJob)


def test_an_orphan_term_is_never_served_since_its_release_may_be_on_its_way() -> None:
    """A claim that is executed late leaves an orphan; the next claim returns it as if it had just been granted."""
    harness = ElectorHarness()
    harness.declare("a")
    harness.answer_all(except_for=Claim)
    (claim,) = harness.pending(Claim)
    claim.execute(harness.store)
    orphan = Term("a", harness.database.tables.locks["a"].term)
    harness.elector._master_role._orphan_terms[orphan] = "me/1"
    harness.answer(claim)
    assert not harness.actions_of(StartJob)
    harness.answer_all()
    assert orphan in [term for release in harness.actions_of(Release) for term in release.terms]
    harness.advance(6.0)
    assert single(harness.actions, StartJob).term.number > orphan.number


def test_a_lost_row_is_written_again_by_the_instance_that_served_the_lock() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.store.ensure_locks(["others", "that", "came"])
    del harness.database.tables.locks["a"]
    harness.advance(1.0)
    (stop,) = harness.actions_of(StopJob)
    harness.submit(JobStopped(stop.term))
    harness.answer_all()
    harness.advance(1.0)
    assert len(harness.actions_of(StartJob)) == 2


def test_a_change_makes_a_master_read_its_stop_requests_at_once() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.database.disable("a")
    harness.submit(LocksChanged(frozenset({"a"})))
    harness.answer_all()
    assert harness.actions_of(StopJob)


def test_a_change_makes_a_candidate_list_vacancies_at_once() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    harness.store.ensure_locks(["a"])
    (term,) = harness.store.claim("rival/1", ["a"])
    harness.declare("a")
    harness.answer_all()
    harness.advance(0.5)
    harness.store.release(["rival/1"], [term])
    harness.submit(LocksChanged(frozenset({"a"})))
    harness.answer_all()
    harness.advance(0.06)
    assert harness.actions_of(StartJob)


def test_a_change_of_other_locks_causes_no_query() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    assert not harness.submit(LocksChanged(frozenset({"another lock"})))


def test_changes_while_the_inventory_is_read_cause_one_more_read() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    for _ in range(5):
        harness.submit(LocksChanged())
    assert len(harness.pending(ReadInventory)) == 1
    harness.answer_all()
    assert len(harness.actions_of(ReadInventory)) == 2


def test_without_any_notification_the_timer_still_finds_a_free_lock() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    harness.store.ensure_locks(["a"])
    (term,) = harness.store.claim("rival/1", ["a"])
    harness.declare("a")
    harness.answer_all()
    harness.store.release(["rival/1"], [term])
    harness.advance(TIMING.check_master_interval + 0.1)
    assert harness.actions_of(StartJob)


def test_a_change_while_the_inventory_was_read_in_vain_causes_one_more_read() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.submit(LocksChanged())
    harness.submit(LocksChanged())
    harness.fail(harness.pending(ReadInventory)[0])
    assert len(harness.pending(ReadInventory)) == 1
    harness.fail(harness.pending(ReadInventory)[0])
    assert not harness.pending(ReadInventory)


def test_what_was_read_in_the_moment_of_a_claim_says_nothing_about_it() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.store.ensure_locks(["unexpected"])
    harness.store.claim("me/1", ["unexpected"])
    heartbeat = harness.next_heartbeat()
    harness.declare("b")
    harness.answer_all(except_for=(Renew, Claim))
    harness.answer(heartbeat)
    (read,) = harness.pending(ReadHeldTerms)
    harness.answer(harness.pending(Claim)[0])
    harness.pending_commands.remove(read)
    harness.submit(Reply(read, ()))
    assert "b" not in [stop.term.lock_name for stop in harness.actions_of(StopJob)]
