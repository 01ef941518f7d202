"""The election, rule by rule, on virtual time (design 3.2 to 3.5)."""

from itertools import pairwise

import pytest

from masterjob.election.core.actions import Abandon, Overrun, SetStopTimeout, StartJob, StopJob
from masterjob.election.core.commands import (
    Claim,
    CloseSession,
    EnsureLocks,
    Evict,
    ListSessions,
    ListVacancies,
    Move,
    OpenSession,
    ReadHeldTerms,
    ReadInventory,
    Release,
    Renew,
    StoreCommand,
)
from masterjob.election.core.events import (
    Declare,
    JobStarted,
    JobStartFailed,
    JobStopped,
    LocksChanged,
    Reply,
    Shutdown,
    StepDown,
    Tick,
    Withdraw,
)
from masterjob.election.timing import Timing
from masterjob.election.values import LostPolicy, Term, TransitionKind
from tests.election.harness import TIMING, ElectorHarness, single

SLOW = Timing.of(2.0, stop_timeout=0.5, check_master_interval=5.0)


# --- claiming ---------------------------------------------------------------------------------------------


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


# --- the fair share ---------------------------------------------------------------------------------------


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


def test_an_instance_that_is_not_alone_waits_a_little_before_it_claims() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    harness.declare("a")
    harness.answer_all()
    assert not harness.actions_of(StartJob)
    harness.advance(0.05)
    assert harness.actions_of(StartJob)


# --- heartbeats and trust ---------------------------------------------------------------------------------


def test_locks_of_equal_timing_share_one_session_and_others_have_their_own() -> None:
    harness = ElectorHarness()
    harness.declare("a", "b")
    harness.submit(Declare("c", SLOW))
    harness.answer_all()
    assert len(harness.actions_of(OpenSession)) == 2


def test_a_slow_heartbeat_does_not_stretch_the_trust() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    heartbeat = harness.next_heartbeat()
    harness.now += 0.1
    harness.answer(heartbeat)
    assert harness.elector.trusted_until(term) == pytest.approx(heartbeat.sent + TIMING.trust_duration)


def test_when_the_trust_ends_the_job_is_stopped_without_asking_the_database() -> None:
    many_retries = Timing.of(1.0, stop_timeout=0.5, max_heartbeat_retry_count=100)
    harness = ElectorHarness()
    harness.declare("a", timing=many_retries)
    harness.answer_all()
    (term,) = [start.term for start in harness.actions_of(StartJob)]
    harness.advance_without_replies(100.0 + many_retries.trust_duration - harness.now - 0.05)
    assert not harness.actions_of(StopJob)
    harness.advance_without_replies(0.05)
    assert single(harness.actions, StopJob).term == term


def test_when_the_retries_are_used_up_the_job_is_stopped_though_trust_is_left() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    for _ in range(TIMING.max_heartbeat_retry_count + 1):
        assert not harness.actions_of(StopJob)
        harness.fail(harness.next_heartbeat())
    assert single(harness.actions, StopJob).term == term
    assert harness.now < 100.0 + 0.5 + TIMING.trust_duration + 1.0


def test_a_failed_heartbeat_is_neither_granted_nor_lost() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.fail(harness.next_heartbeat(), "deadlock detected")
    harness.advance(3.0)
    assert not harness.actions_of(StopJob)


def test_a_heartbeat_that_hangs_is_abandoned_and_tried_on_a_fresh_connection() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    hanging = harness.next_heartbeat()
    harness.advance(0.4, except_for=Renew)
    assert hanging in [abandoned.command for abandoned in harness.actions_of(Abandon)]
    assert harness.next_heartbeat() is not hanging


def test_an_eviction_ends_every_term_of_the_session() -> None:
    harness = ElectorHarness()
    harness.become_master("a", "b")
    harness.store.close_session("me/1")
    harness.advance(1.0)
    assert {stop.term.lock_name for stop in harness.actions_of(StopJob)} == {"a", "b"}


def test_after_an_eviction_a_new_session_is_opened_under_a_new_id() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.store.close_session("me/1")
    harness.advance(1.0)
    assert [command.session.id for command in harness.actions_of(OpenSession)] == ["me/1", "me/2"]


def test_a_session_whose_opening_was_not_confirmed_is_tried_under_another_id() -> None:
    harness = ElectorHarness()
    harness.declare("a")
    harness.lose_reply(harness.next_heartbeat())
    harness.advance(2.5)
    assert [command.session.id for command in harness.actions_of(OpenSession)] == ["me/1", "me/2"]


def test_a_term_is_never_revived_not_even_by_a_heartbeat_that_succeeds_after_a_pause() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    heartbeat = harness.next_heartbeat()
    harness.now += TIMING.trust_duration
    harness.answer(heartbeat)
    assert single(harness.actions, StopJob).term == term
    harness.submit(JobStopped(term))
    harness.answer_all()
    harness.advance(1.0)
    assert harness.actions_of(StartJob)[-1].term.number > term.number


def test_a_heartbeat_goes_over_a_connection_of_its_own() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.advance(1.0)
    heartbeat_connections = {command.connection_name for command in harness.actions_of(Renew)}
    other_connections = {
        command.connection_name
        for command in harness.actions_of(StoreCommand)
        if not isinstance(command, Renew | OpenSession)
    }
    assert heartbeat_connections.isdisjoint(other_connections)


def test_a_heartbeat_needs_no_connection_longer_than_its_trust_can_wait() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.advance(1.0)
    assert all(command.timeout <= TIMING.trust_duration / 2 for command in harness.actions_of(Renew))


# --- stop, then release -----------------------------------------------------------------------------------


def test_a_lock_is_released_only_after_the_stop_has_returned() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(StepDown("a", "asked"))
    harness.answer_all()
    harness.advance(5.0)
    assert not harness.actions_of(Release)
    harness.submit(JobStopped(term))
    assert single(harness.actions, Release).terms == (term,)


def test_a_stop_that_hangs_keeps_its_lock_and_no_other() -> None:
    harness = ElectorHarness()
    harness.become_master("a", "b")
    harness.submit(StepDown("a", "asked"))
    harness.advance(20.0)
    assert harness.database.tables.locks["a"].holder == "me/1"
    assert [stop.term.lock_name for stop in harness.actions_of(StopJob)] == ["a"]
    assert not harness.actions_of(Overrun)


def test_a_release_without_an_answer_is_asked_again() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(StepDown("a", "asked"))
    harness.submit(JobStopped(term))
    harness.fail(harness.pending(Release)[0])
    harness.advance(1.5)
    assert len(harness.actions_of(Release)) == 2
    assert (TransitionKind.STEPPED_DOWN, "me stepped down from a: asked") in harness.history()


def test_one_row_that_somebody_has_locked_delays_no_other_release_for_long() -> None:
    harness = ElectorHarness()
    names = [f"lock-{number}" for number in range(8)]
    harness.become_master(*names)
    for stop in [harness.submit(Withdraw(name, "closed")) for name in names]:
        harness.submit(JobStopped(single(stop, StopJob).term))
    locked = harness.database.tables.locks["lock-3"].term
    for _ in range(20):
        harness.advance(0.01, except_for=Release)
        for release in harness.pending(Release):
            if Term("lock-3", locked) in release.terms:  # type: ignore[attr-defined]
                harness.now += 4.0
                harness.fail(release, "lock timeout")
            else:
                harness.answer(release)
        harness.advance(1.0, except_for=Release)
    held = [name for name in names if harness.database.tables.locks[name].holder is not None]
    assert held == ["lock-3"]
    attempts = [release for release in harness.actions_of(Release) if release.terms == (Term("lock-3", locked),)]
    pauses = [later.sent - earlier.sent for earlier, later in pairwise(attempts)]
    assert pauses, "it is asked for by itself"
    assert min(pauses) >= 8.0, "the lane is free for as long as it was held up"


def test_a_step_down_has_a_cooldown_of_one_heartbeat_interval() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(StepDown("a", "asked"))
    harness.submit(JobStopped(term))
    harness.answer_all()
    harness.advance(TIMING.heartbeat_interval - 0.01)
    assert len(harness.actions_of(StartJob)) == 1
    harness.advance(0.1)
    assert len(harness.actions_of(StartJob)) == 2


def test_a_stop_that_has_not_returned_by_the_end_of_the_lease_is_an_overrun_with_its_policy() -> None:
    harness = ElectorHarness()
    harness.submit(Declare("a", TIMING, LostPolicy.EXIT))
    harness.answer_all()
    harness.advance_without_replies(TIMING.lease_duration - 0.01)
    assert harness.actions_of(StopJob)
    assert not harness.actions_of(Overrun)
    harness.advance_without_replies(0.02)
    assert single(harness.actions, Overrun).lost_policy is LostPolicy.EXIT


def test_the_exit_deadline_is_the_end_of_the_lease_and_moves_with_each_heartbeat() -> None:
    harness = ElectorHarness()
    harness.submit(Declare("a", TIMING, LostPolicy.EXIT))
    harness.answer_all()
    first = harness.elector.exit_deadline()
    assert first == pytest.approx(100.0 + TIMING.lease_duration)
    harness.advance(1.0)
    assert harness.elector.exit_deadline() == pytest.approx(first + 1.0)


def test_there_is_no_exit_deadline_for_locks_that_may_overrun() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    assert harness.elector.exit_deadline() == float("inf")


def test_an_evicted_masters_stop_has_its_timeout_and_not_what_its_lease_had_left() -> None:
    harness = ElectorHarness()
    harness.submit(Declare("a", TIMING, LostPolicy.EXIT))
    harness.answer_all()
    harness.store.close_session("me/1")
    harness.answer(harness.next_heartbeat())
    assert harness.elector.exit_deadline() == pytest.approx(harness.now + TIMING.stop_timeout)
    harness.advance(TIMING.stop_timeout + 0.01)
    assert harness.actions_of(Overrun)


def test_a_start_that_raises_steps_down_with_growing_pauses_and_says_why() -> None:
    harness = ElectorHarness()
    starts = []
    harness.become_master("a")
    for _ in range(3):
        starts.append(harness.now)
        term = harness.actions_of(StartJob)[-1].term
        harness.submit(JobStartFailed(term, "ValueError: no such file"))
        harness.submit(JobStopped(term))
        harness.answer_all()
        while len(harness.actions_of(StartJob)) == len(starts):
            harness.advance(0.25)
    starts.append(harness.now)
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert pauses == pytest.approx([1.0, 2.0, 4.0], abs=0.3)
    assert (TransitionKind.START_FAILED, "start of a failed: ValueError: no such file") in harness.history()


def test_a_start_that_stayed_for_long_before_it_failed_has_succeeded() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    for _ in range(4):
        term = harness.actions_of(StartJob)[-1].term
        harness.advance(400.0)
        harness.submit(JobStartFailed(term, "boom"))
        harness.submit(JobStopped(term))
        harness.answer_all()
        harness.advance(1.5)
    assert len(harness.actions_of(StartJob)) == 5


def test_a_start_that_succeeds_forgets_the_failures_before() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    for _ in range(2):
        term = harness.actions_of(StartJob)[-1].term
        harness.submit(JobStartFailed(term, "boom"))
        harness.submit(JobStopped(term))
        harness.answer_all()
        harness.advance(5.0)
        harness.submit(JobStarted(harness.actions_of(StartJob)[-1].term))
    assert len(harness.actions_of(StartJob)) == 3


# --- the inventory ----------------------------------------------------------------------------------------


def test_a_lock_that_the_database_gave_to_somebody_else_is_stopped_within_a_heartbeat() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.add_rival()
    harness.database.tables.locks["a"].holder = "rival/1"
    harness.advance(1.0)
    assert single(harness.actions, StopJob).term == term


def test_a_lock_that_is_held_but_not_run_is_released_and_not_adopted() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.store.ensure_locks(["stray"])
    harness.store.claim("me/1", ["stray"])
    harness.advance(1.0)
    assert harness.database.tables.locks["stray"].holder is None
    assert [start.term.lock_name for start in harness.actions_of(StartJob)] == ["a"]


def test_the_inventory_is_checked_against_what_was_expected_when_it_was_sent() -> None:
    """A claim that was granted while the answer was on its way must not be taken for a stray."""
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
    harness.store.ensure_locks(["stray"])
    harness.store.claim("me/1", ["stray"])
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
    harness.store.request_step_down(term, "somebody", "why not")
    harness.advance(1.0)
    harness.submit(JobStopped(term))
    harness.answer_all()
    assert harness.actions_of(StopJob)
    assert len(harness.actions_of(StartJob)) == 1
    harness.advance(2.0)
    assert len(harness.actions_of(StartJob)) == 2


def test_a_step_down_that_was_requested_of_an_earlier_term_is_not_obeyed() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.database.tables.locks["a"].step_down_term = term.number - 1
    harness.advance(3.0)
    assert not harness.actions_of(StopJob)


def test_an_orphan_term_is_never_served_since_its_release_may_be_on_its_way() -> None:
    """A claim that lands late makes a stray; the next claim reads it back as if it had just been granted."""
    harness = ElectorHarness()
    harness.declare("a")
    harness.answer_all(except_for=Claim)
    (claim,) = harness.pending(Claim)
    claim.execute(harness.store)
    orphan = Term("a", harness.database.tables.locks["a"].term)
    harness.elector._master_role._orphan_terms.add(orphan)
    harness.answer(claim)
    assert not harness.actions_of(StartJob)
    harness.answer_all()
    assert orphan in [term for release in harness.actions_of(Release) for term in release.terms]
    harness.advance(6.0)
    assert single(harness.actions, StartJob).term.number > orphan.number


def test_a_lock_that_lost_its_row_gets_it_again_from_who_served_it() -> None:
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


# --- moving between sessions ------------------------------------------------------------------------------


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
def test_a_move_without_an_answer_is_asked_again_and_ends_well_either_way(happened: bool) -> None:
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


def test_who_goes_back_to_a_session_that_an_unanswered_move_would_leave_ends_its_term() -> None:
    """That move could still land, and the database would name another session than the master believes."""
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


# --- wake-ups ---------------------------------------------------------------------------------------------


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


def test_a_change_of_other_locks_costs_nothing() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    assert not harness.submit(LocksChanged(frozenset({"somebody else's"})))


def test_changes_while_the_inventory_is_read_have_it_read_once_more() -> None:
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


# --- eviction ---------------------------------------------------------------------------------------------


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


def test_the_lease_that_counts_is_the_rows_not_the_evictors() -> None:
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
    harness.advance(2.0)
    assert harness.actions_of(StartJob)


def test_an_eviction_that_is_blocked_blocks_no_other() -> None:
    """Such as that of a master which froze in a guarded transaction: its lock's row is locked by it."""
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
    harness.now += 4.0
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
    assert again.sent >= evict.sent + 8.0, "our claims had time in between"
    harness.answer(again)
    harness.advance(0.5)
    assert len(harness.actions_of(StartJob)) == 2


def test_who_was_too_late_to_evict_lists_what_that_freed_at_once() -> None:
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


def test_who_is_master_of_everything_lists_no_sessions() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    before = len(harness.actions_of(ListSessions))
    harness.advance(30.0)
    assert len(harness.actions_of(ListSessions)) == before


# --- a database that refuses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("masters", [(), ("a", "b")])
def test_a_database_that_refuses_everything_is_not_asked_in_a_loop(masters: tuple[str, ...]) -> None:
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


def test_a_database_that_fails_all_but_the_heartbeats_is_not_asked_in_a_loop() -> None:
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


# --- the end ----------------------------------------------------------------------------------------------


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


def test_nothing_that_is_declared_after_a_shutdown_is_taken_part_in() -> None:
    """Such as a change of timing that was on its way when the process began to end."""
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
