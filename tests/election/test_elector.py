"""The election, rule by rule, on virtual time (design 3.2 to 3.5)."""

from itertools import pairwise

import pytest

from masterjob.election.machine.actions import Abandon, Overrun, StartJob, StopJob, StopWithin
from masterjob.election.machine.commands import (
    Claim,
    Command,
    Depart,
    Ensure,
    Evict,
    LookAtSessions,
    LookForFree,
    Move,
    Open,
    ReadHeld,
    Release,
    Renew,
    TakeInventory,
)
from masterjob.election.machine.events import (
    Declare,
    Leave,
    Reply,
    Started,
    StartFailed,
    StepDown,
    Stopped,
    Tick,
    Withdraw,
    Woken,
)
from masterjob.election.timing import Timing
from masterjob.election.values import Kind, LostPolicy, Term

from .bench import TIMING, Bench, only

SLOW = Timing.of(2.0, stop_timeout=0.5, check_master_interval=5.0)


# --- claiming ---------------------------------------------------------------------------------------------


def test_a_free_lock_is_claimed_and_its_job_started() -> None:
    bench = Bench()
    term = bench.become_master("a")
    assert only(bench.actions, StartJob).term == term
    assert bench.database.tables.locks["a"].holder == "me/1"


def test_rows_are_ensured_before_anything_is_looked_for_or_claimed() -> None:
    bench = Bench()
    bench.declare("a")
    bench.settle(but=Ensure)
    bench.pass_time(1.0, but=Ensure)
    assert not bench.asked(LookForFree, Claim)


def test_a_name_that_the_database_cannot_store_stops_no_other_lock() -> None:
    bench = Bench()
    names = [f"lock-{number}" for number in range(6)]
    bench.declare(*names, "日本")
    for _ in range(20):
        for ensure in bench.asked(Ensure):
            if "日本" in ensure.lock_names:  # type: ignore[attr-defined]
                bench.fail(ensure, "no such character")
        bench.pass_time(0.5, but=Ensure)
        for ensure in bench.asked(Ensure):
            if "日本" not in ensure.lock_names:  # type: ignore[attr-defined]
                bench.answer(ensure)
    bench.pass_time(1.0, but=Ensure)
    assert sorted(start.term.lock_name for start in bench.said(StartJob)) == names
    assert bench.elector.why("日本") == "its row cannot be written: no such character"


def test_nothing_is_claimed_before_the_initial_delay_is_over() -> None:
    bench = Bench()
    bench.tell(Declare("a", TIMING, delay=2.0))
    bench.settle()
    bench.pass_time(1.9)
    assert not bench.said(StartJob)
    bench.pass_time(0.3)
    assert bench.said(StartJob)


def test_a_lock_that_another_holds_is_waited_for() -> None:
    bench = Bench()
    bench.rival()
    bench.store.ensure(["a"])
    bench.store.claim("rival/1", ["a"])
    bench.declare("a")
    bench.settle()
    bench.pass_time(1.0)
    assert not bench.said(Claim)


def test_the_grant_is_looked_at_again_and_nothing_starts_on_trust_that_is_over() -> None:
    bench = Bench()
    bench.declare("a")
    bench.settle(but=Claim)
    bench.pass_time(0.1, but=Claim)
    (claim,) = bench.asked(Claim)
    bench.now += TIMING.trust
    bench.answer(claim)
    assert not bench.said(StartJob)
    (release,) = bench.asked(Release)
    bench.answer(release)
    assert bench.database.tables.locks["a"].holder is None


def test_a_lock_is_claimed_only_with_a_heartbeat_of_trust_left() -> None:
    bench = Bench()
    bench.rival()
    bench.store.ensure(["a"])
    (old,) = bench.store.claim("rival/1", ["a"])
    bench.declare("a", timing=Timing.of(1.0, stop_timeout=0.5, max_heartbeat_retry_count=0))
    bench.settle()
    bench.heartbeat()
    bench.pass_time(0.5, but=Renew)  # 0.94 s of trust are left, and a heartbeat takes 1 s
    bench.store.release(["rival/1"], [old])
    bench.tell(Woken())
    bench.settle(but=Renew)
    bench.pass_time(0.06, but=Renew)
    assert not bench.said(Claim)
    bench.answer(bench.heartbeat())
    bench.settle()
    bench.pass_time(0.06)
    assert bench.said(Claim)


def test_a_claim_whose_reply_was_lost_starts_nothing_and_is_released_within_two_heartbeats() -> None:
    bench = Bench()
    bench.declare("a")
    bench.settle(but=Claim)
    bench.pass_time(0.1, but=Claim)
    (claim,) = bench.asked(Claim)
    bench.lose_reply(claim)
    term = bench.database.tables.locks["a"].term
    bench.pass_time(2 * TIMING.heartbeat_interval)
    assert Term("a", term) in [term for release in bench.said(Release) for term in release.terms]
    bench.pass_time(1.0)
    assert only(bench.actions, StartJob).term.number > term


def test_an_unanswered_claim_is_given_up_and_its_late_answer_ignored() -> None:
    bench = Bench()
    bench.declare("a")
    bench.settle(but=Claim)
    bench.pass_time(0.1, but=Claim)
    (claim,) = bench.asked(Claim)
    bench.pass_time(5.5, but=Claim)
    assert claim in [abandoned.command for abandoned in bench.said(Abandon)]
    bench.answer(claim)
    assert not bench.said(StartJob)


def test_a_session_that_the_database_evicted_gets_no_grant() -> None:
    bench = Bench()
    bench.declare("a")
    bench.settle(but=Claim)
    bench.store.leave("me/1")
    bench.pass_time(0.1, but=Renew)
    assert not bench.said(StartJob)


def test_rows_that_a_promoted_replica_lost_are_written_again() -> None:
    bench = Bench()
    empty = bench.database.snapshot()
    bench.rival()
    bench.store.ensure(["a"])
    bench.store.claim("rival/1", ["a"])
    bench.declare("a")
    bench.settle()
    bench.pass_time(0.5)
    bench.database.tables = empty
    bench.pass_time(2 * TIMING.check_master_interval)
    assert bench.said(StartJob)


# --- the fair share ---------------------------------------------------------------------------------------


def test_an_instance_first_claims_its_fair_share_and_after_a_quarter_second_the_rest() -> None:
    bench = Bench()
    bench.rival()
    names = [f"lock-{number}" for number in range(10)]
    bench.declare(*names)
    bench.settle()
    bench.pass_time(0.1)
    assert len(bench.said(StartJob)) == 5
    bench.pass_time(0.3)
    assert len(bench.said(StartJob)) == 10


def test_what_it_holds_already_counts_towards_the_fair_share() -> None:
    bench = Bench()
    bench.become_master("a", "b")
    bench.rival()
    bench.declare("c")
    bench.settle()
    bench.pass_time(0.1)
    assert len(bench.said(StartJob)) == 2


def test_an_instance_alone_claims_everything_at_once() -> None:
    bench = Bench()
    bench.declare("a", "b", "c")
    bench.settle()
    assert len(bench.said(StartJob)) == 3


def test_an_instance_that_is_not_alone_waits_a_little_before_it_claims() -> None:
    bench = Bench()
    bench.rival()
    bench.declare("a")
    bench.settle()
    assert not bench.said(StartJob)
    bench.pass_time(0.05)
    assert bench.said(StartJob)


# --- heartbeats and trust ---------------------------------------------------------------------------------


def test_locks_of_equal_timing_share_one_session_and_others_have_their_own() -> None:
    bench = Bench()
    bench.declare("a", "b")
    bench.tell(Declare("c", SLOW))
    bench.settle()
    assert len(bench.said(Open)) == 2


def test_a_slow_heartbeat_does_not_stretch_the_trust() -> None:
    bench = Bench()
    term = bench.become_master("a")
    beat = bench.heartbeat()
    bench.now += 0.1
    bench.answer(beat)
    assert bench.elector.trusted_until(term) == pytest.approx(beat.sent + TIMING.trust)


def test_when_the_trust_ends_the_job_is_stopped_without_asking_the_database() -> None:
    patient = Timing.of(1.0, stop_timeout=0.5, max_heartbeat_retry_count=100)
    bench = Bench()
    bench.declare("a", timing=patient)
    bench.settle()
    (term,) = [start.term for start in bench.said(StartJob)]
    bench.pass_silence(100.0 + patient.trust - bench.now - 0.05)
    assert not bench.said(StopJob)
    bench.pass_silence(0.05)
    assert only(bench.actions, StopJob).term == term


def test_when_the_retries_are_used_up_the_job_is_stopped_though_trust_is_left() -> None:
    bench = Bench()
    term = bench.become_master("a")
    for _ in range(TIMING.max_heartbeat_retry_count + 1):
        assert not bench.said(StopJob)
        bench.fail(bench.heartbeat())
    assert only(bench.actions, StopJob).term == term
    assert bench.now < 100.0 + 0.5 + TIMING.trust + 1.0


def test_a_failed_heartbeat_is_neither_granted_nor_lost() -> None:
    bench = Bench()
    bench.become_master("a")
    bench.fail(bench.heartbeat(), "deadlock detected")
    bench.pass_time(3.0)
    assert not bench.said(StopJob)


def test_a_heartbeat_that_hangs_is_abandoned_and_tried_on_a_fresh_connection() -> None:
    bench = Bench()
    bench.become_master("a")
    hanging = bench.heartbeat()
    bench.pass_time(0.4, but=Renew)
    assert hanging in [abandoned.command for abandoned in bench.said(Abandon)]
    assert bench.heartbeat() is not hanging


def test_an_eviction_ends_every_term_of_the_session() -> None:
    bench = Bench()
    bench.become_master("a", "b")
    bench.store.leave("me/1")
    bench.pass_time(1.0)
    assert {stop.term.lock_name for stop in bench.said(StopJob)} == {"a", "b"}


def test_after_an_eviction_a_new_session_is_opened_under_a_new_id() -> None:
    bench = Bench()
    bench.become_master("a")
    bench.store.leave("me/1")
    bench.pass_time(1.0)
    assert [command.session.id for command in bench.said(Open)] == ["me/1", "me/2"]


def test_a_session_whose_opening_was_not_confirmed_is_tried_under_another_id() -> None:
    bench = Bench()
    bench.declare("a")
    bench.lose_reply(bench.heartbeat())
    bench.pass_time(2.5)
    assert [command.session.id for command in bench.said(Open)] == ["me/1", "me/2"]


def test_a_term_is_never_revived_not_even_by_a_heartbeat_that_succeeds_after_a_pause() -> None:
    bench = Bench()
    term = bench.become_master("a")
    beat = bench.heartbeat()
    bench.now += TIMING.trust
    bench.answer(beat)
    assert only(bench.actions, StopJob).term == term
    bench.tell(Stopped(term))
    bench.settle()
    bench.pass_time(1.0)
    assert bench.said(StartJob)[-1].term.number > term.number


def test_a_heartbeat_goes_over_a_connection_of_its_own() -> None:
    bench = Bench()
    bench.become_master("a")
    bench.pass_time(1.0)
    lanes = {command.lane for command in bench.said(Renew)}
    others = {command.lane for command in bench.said(Command) if not isinstance(command, Renew | Open)}
    assert lanes.isdisjoint(others)


def test_a_heartbeat_needs_no_connection_longer_than_its_trust_can_wait() -> None:
    bench = Bench()
    bench.become_master("a")
    bench.pass_time(1.0)
    assert all(command.timeout <= TIMING.trust / 2 for command in bench.said(Renew))


# --- stop, then release -----------------------------------------------------------------------------------


def test_a_lock_is_released_only_after_the_stop_has_returned() -> None:
    bench = Bench()
    term = bench.become_master("a")
    bench.tell(StepDown("a", "asked"))
    bench.settle()
    bench.pass_time(5.0)
    assert not bench.said(Release)
    bench.tell(Stopped(term))
    assert only(bench.actions, Release).terms == (term,)


def test_a_stop_that_hangs_keeps_its_lock_and_no_other() -> None:
    bench = Bench()
    bench.become_master("a", "b")
    bench.tell(StepDown("a", "asked"))
    bench.pass_time(20.0)
    assert bench.database.tables.locks["a"].holder == "me/1"
    assert [stop.term.lock_name for stop in bench.said(StopJob)] == ["a"]
    assert not bench.said(Overrun)


def test_a_release_without_an_answer_is_asked_again() -> None:
    bench = Bench()
    term = bench.become_master("a")
    bench.tell(StepDown("a", "asked"))
    bench.tell(Stopped(term))
    bench.fail(bench.asked(Release)[0])
    bench.pass_time(1.5)
    assert len(bench.said(Release)) == 2
    assert (Kind.STEPPED_DOWN, "me stepped down from a: asked") in bench.history()


def test_one_row_that_somebody_has_locked_holds_up_no_other_release_for_long() -> None:
    bench = Bench()
    names = [f"lock-{number}" for number in range(8)]
    bench.become_master(*names)
    for stop in [bench.tell(Withdraw(name, "closed")) for name in names]:
        bench.tell(Stopped(only(stop, StopJob).term))
    locked = bench.database.tables.locks["lock-3"].term
    for _ in range(20):
        bench.pass_time(0.01, but=Release)
        for release in bench.asked(Release):
            if Term("lock-3", locked) in release.terms:  # type: ignore[attr-defined]
                bench.now += 4.0
                bench.fail(release, "lock timeout")
            else:
                bench.answer(release)
        bench.pass_time(1.0, but=Release)
    held = [name for name in names if bench.database.tables.locks[name].holder is not None]
    assert held == ["lock-3"]
    tries = [release for release in bench.said(Release) if release.terms == (Term("lock-3", locked),)]
    pauses = [later.sent - earlier.sent for earlier, later in pairwise(tries)]
    assert pauses, "it is asked for by itself"
    assert min(pauses) >= 8.0, "the lane is free for as long as it was held up"


def test_who_stepped_down_sits_out_one_heartbeat_interval() -> None:
    bench = Bench()
    term = bench.become_master("a")
    bench.tell(StepDown("a", "asked"))
    bench.tell(Stopped(term))
    bench.settle()
    bench.pass_time(TIMING.heartbeat_interval - 0.01)
    assert len(bench.said(StartJob)) == 1
    bench.pass_time(0.1)
    assert len(bench.said(StartJob)) == 2


def test_a_stop_that_has_not_returned_by_the_end_of_the_lease_is_told_with_its_policy() -> None:
    bench = Bench()
    bench.tell(Declare("a", TIMING, LostPolicy.EXIT))
    bench.settle()
    bench.pass_silence(TIMING.lease_duration - 0.01)
    assert bench.said(StopJob)
    assert not bench.said(Overrun)
    bench.pass_silence(0.02)
    assert only(bench.actions, Overrun).lost_policy is LostPolicy.EXIT


def test_the_exit_timer_is_armed_for_the_end_of_the_lease_and_moves_with_each_heartbeat() -> None:
    bench = Bench()
    bench.tell(Declare("a", TIMING, LostPolicy.EXIT))
    bench.settle()
    first = bench.elector.exits_at()
    assert first == pytest.approx(100.0 + TIMING.lease_duration)
    bench.pass_time(1.0)
    assert bench.elector.exits_at() == pytest.approx(first + 1.0)


def test_the_exit_timer_is_not_armed_for_locks_that_may_overrun() -> None:
    bench = Bench()
    bench.become_master("a")
    assert bench.elector.exits_at() == float("inf")


def test_an_evicted_masters_stop_has_its_timeout_and_not_what_its_lease_had_left() -> None:
    bench = Bench()
    bench.tell(Declare("a", TIMING, LostPolicy.EXIT))
    bench.settle()
    bench.store.leave("me/1")
    bench.answer(bench.heartbeat())
    assert bench.elector.exits_at() == pytest.approx(bench.now + TIMING.stop_timeout)
    bench.pass_time(TIMING.stop_timeout + 0.01)
    assert bench.said(Overrun)


def test_a_start_that_raises_steps_down_with_growing_pauses_and_says_why() -> None:
    bench = Bench()
    starts = []
    bench.become_master("a")
    for _ in range(3):
        starts.append(bench.now)
        term = bench.said(StartJob)[-1].term
        bench.tell(StartFailed(term, "ValueError: no such file"))
        bench.tell(Stopped(term))
        bench.settle()
        while len(bench.said(StartJob)) == len(starts):
            bench.pass_time(0.25)
    starts.append(bench.now)
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert pauses == pytest.approx([1.0, 2.0, 4.0], abs=0.3)
    assert (Kind.START_FAILED, "start of a failed: ValueError: no such file") in bench.history()


def test_a_start_that_stayed_for_long_before_it_failed_has_succeeded() -> None:
    bench = Bench()
    bench.become_master("a")
    for _ in range(4):
        term = bench.said(StartJob)[-1].term
        bench.pass_time(400.0)
        bench.tell(StartFailed(term, "boom"))
        bench.tell(Stopped(term))
        bench.settle()
        bench.pass_time(1.5)
    assert len(bench.said(StartJob)) == 5


def test_a_start_that_succeeds_forgets_the_failures_before() -> None:
    bench = Bench()
    bench.become_master("a")
    for _ in range(2):
        term = bench.said(StartJob)[-1].term
        bench.tell(StartFailed(term, "boom"))
        bench.tell(Stopped(term))
        bench.settle()
        bench.pass_time(5.0)
        bench.tell(Started(bench.said(StartJob)[-1].term))
    assert len(bench.said(StartJob)) == 3


# --- the inventory ----------------------------------------------------------------------------------------


def test_a_lock_that_the_database_gave_to_somebody_else_is_stopped_within_a_heartbeat() -> None:
    bench = Bench()
    term = bench.become_master("a")
    bench.rival()
    bench.database.tables.locks["a"].holder = "rival/1"
    bench.pass_time(1.0)
    assert only(bench.actions, StopJob).term == term


def test_a_lock_that_is_held_but_not_run_is_released_and_not_adopted() -> None:
    bench = Bench()
    bench.become_master("a")
    bench.store.ensure(["stray"])
    bench.store.claim("me/1", ["stray"])
    bench.pass_time(1.0)
    assert bench.database.tables.locks["stray"].holder is None
    assert [start.term.lock_name for start in bench.said(StartJob)] == ["a"]


def test_the_inventory_is_judged_against_what_was_believed_when_it_was_sent() -> None:
    """A claim that was granted while the answer was on its way must not be taken for a stray."""
    bench = Bench()
    bench.become_master("a")
    beat = bench.heartbeat()
    bench.declare("b")
    bench.settle(but=Renew)
    assert bench.elector.term_of("b") is not None
    bench.answer(beat)
    bench.settle()
    assert not bench.said(StopJob)
    assert not bench.said(Release)


def test_what_was_read_before_a_claim_says_nothing_about_it() -> None:
    bench = Bench()
    bench.become_master("a")
    bench.store.ensure(["stray"])
    bench.store.claim("me/1", ["stray"])
    bench.pass_time(1.0, but=ReadHeld)
    (reading,) = bench.asked(ReadHeld)
    rows = reading.perform(bench.store)
    bench.declare("b")
    bench.settle(but=ReadHeld)
    bench.open.remove(reading)
    bench.tell(Reply(reading, rows))
    assert not bench.said(StopJob)


def test_a_disabled_lock_is_stopped_with_the_next_heartbeat() -> None:
    bench = Bench()
    term = bench.become_master("a")
    bench.database.disable("a")
    bench.pass_time(1.0)
    assert only(bench.actions, StopJob).term == term
    bench.tell(Stopped(term))
    bench.settle()
    bench.pass_time(20.0)
    assert len(bench.said(StartJob)) == 1


def test_a_term_that_was_asked_to_step_down_does_and_sits_out() -> None:
    bench = Bench()
    term = bench.become_master("a")
    bench.store.ask_step_down(term, "somebody", "why not")
    bench.pass_time(1.0)
    bench.tell(Stopped(term))
    bench.settle()
    assert bench.said(StopJob)
    assert len(bench.said(StartJob)) == 1
    bench.pass_time(2.0)
    assert len(bench.said(StartJob)) == 2


def test_a_step_down_that_was_asked_of_an_earlier_term_is_not_obeyed() -> None:
    bench = Bench()
    term = bench.become_master("a")
    bench.database.tables.locks["a"].step_down_term = term.number - 1
    bench.pass_time(3.0)
    assert not bench.said(StopJob)


def test_a_stray_is_never_served_since_its_release_may_be_on_its_way() -> None:
    """A claim that lands late makes a stray; the next claim reads it back as if it had just been granted."""
    bench = Bench()
    bench.declare("a")
    bench.settle(but=Claim)
    (claim,) = bench.asked(Claim)
    claim.perform(bench.store)
    stray = Term("a", bench.database.tables.locks["a"].term)
    bench.elector._mastery._strays.add(stray)
    bench.answer(claim)
    assert not bench.said(StartJob)
    bench.settle()
    assert stray in [term for release in bench.said(Release) for term in release.terms]
    bench.pass_time(6.0)
    assert only(bench.actions, StartJob).term.number > stray.number


def test_a_lock_that_lost_its_row_gets_it_again_from_who_served_it() -> None:
    bench = Bench()
    bench.become_master("a")
    bench.store.ensure(["others", "that", "came"])
    del bench.database.tables.locks["a"]
    bench.pass_time(1.0)
    (stop,) = bench.said(StopJob)
    bench.tell(Stopped(stop.term))
    bench.settle()
    bench.pass_time(1.0)
    assert len(bench.said(StartJob)) == 2


# --- moving between sessions ------------------------------------------------------------------------------


def test_a_lock_whose_timing_changes_goes_to_another_session_and_keeps_its_term() -> None:
    bench = Bench()
    term = bench.become_master("a")
    bench.tell(Declare("a", SLOW))
    bench.settle()
    assert bench.database.tables.locks["a"].holder == "me/2"
    assert bench.elector.term_of("a") == term
    assert not bench.said(StopJob)


def test_until_a_move_is_confirmed_the_trust_is_the_smaller_of_both() -> None:
    bench = Bench()
    term = bench.become_master("a")
    before = bench.elector.trusted_until(term)
    bench.tell(Declare("a", SLOW))
    bench.settle(but=Move)
    assert bench.elector.trusted_until(term) == pytest.approx(before)
    bench.settle()
    assert bench.elector.trusted_until(term) == pytest.approx(bench.now + SLOW.trust)


def test_a_job_hears_of_a_shorter_stop_timeout_before_its_lease_is_shorter_and_of_a_longer_one_after() -> None:
    bench = Bench()
    long, short = SLOW, Timing.of(1.0, stop_timeout=0.1, check_master_interval=5.0)
    bench.declare("a", timing=long)
    bench.settle()
    bench.pass_time(0.5)
    assert [each.stop_timeout for each in bench.said(StopWithin)] == [0.5]
    told = bench.actions.index(bench.said(StopWithin)[0])
    assert told < bench.actions.index(only(bench.actions, StartJob))

    bench.actions.clear()
    bench.tell(Declare("a", short))
    bench.settle()
    assert {each.stop_timeout for each in bench.said(StopWithin)} == {0.1}
    told = bench.actions.index(bench.said(StopWithin)[0])
    assert told < bench.actions.index(only(bench.actions, Move))

    bench.actions.clear()
    bench.tell(Declare("a", long))
    bench.settle(but=Move)
    assert {each.stop_timeout for each in bench.said(StopWithin)} == {0.1}
    bench.settle()
    assert bench.said(StopWithin)[-1].stop_timeout == 0.5


@pytest.mark.parametrize("happened", [True, False])
def test_a_move_without_an_answer_is_asked_again_and_ends_well_either_way(happened: bool) -> None:
    bench = Bench()
    term = bench.become_master("a")
    bench.tell(Declare("a", SLOW))
    bench.settle(but=Move)
    (move,) = bench.asked(Move)
    if happened:
        bench.lose_reply(move)
    else:
        bench.fail(move)
    bench.pass_time(2.0)
    assert bench.database.tables.locks["a"].holder == "me/2"
    assert bench.elector.term_of("a") == term
    assert not bench.said(StopJob)


def test_who_goes_back_to_a_session_that_an_unanswered_move_would_leave_ends_its_term() -> None:
    """That move could still land, and the database would name another session than the master believes."""
    bench = Bench()
    bench.become_master("a", "keeps the session")
    bench.tell(Declare("a", SLOW))
    bench.settle(but=Move)
    (late,) = bench.asked(Move)
    bench.fail(late)
    bench.pass_time(2.0)
    assert bench.database.tables.locks["a"].holder == "me/2"
    bench.tell(Declare("a", TIMING))
    bench.settle()
    bench.pass_time(1.5)
    assert "a" in [stop.term.lock_name for stop in bench.said(StopJob)]


def test_a_session_that_nothing_uses_any_more_is_removed() -> None:
    bench = Bench()
    bench.become_master("a")
    bench.tell(Declare("a", SLOW))
    bench.settle()
    bench.pass_time(0.1)
    assert set(bench.database.tables.sessions) == {"me/2"}


# --- wake-ups ---------------------------------------------------------------------------------------------


def test_a_wake_up_makes_a_master_look_at_its_flags_at_once() -> None:
    bench = Bench()
    bench.become_master("a")
    bench.database.disable("a")
    bench.tell(Woken(frozenset({"a"})))
    bench.settle()
    assert bench.said(StopJob)


def test_a_wake_up_makes_a_candidate_look_for_free_locks_at_once() -> None:
    bench = Bench()
    bench.rival()
    bench.store.ensure(["a"])
    (term,) = bench.store.claim("rival/1", ["a"])
    bench.declare("a")
    bench.settle()
    bench.pass_time(0.5)
    bench.store.release(["rival/1"], [term])
    bench.tell(Woken(frozenset({"a"})))
    bench.settle()
    bench.pass_time(0.06)
    assert bench.said(StartJob)


def test_a_wake_up_for_locks_of_others_costs_nothing() -> None:
    bench = Bench()
    bench.become_master("a")
    assert not bench.tell(Woken(frozenset({"somebody else's"})))


def test_wake_ups_during_a_look_are_answered_with_one_more_look() -> None:
    bench = Bench()
    bench.become_master("a")
    for _ in range(5):
        bench.tell(Woken())
    assert len(bench.asked(TakeInventory)) == 1
    bench.settle()
    assert len(bench.said(TakeInventory)) == 2


def test_without_any_wake_up_the_timer_still_finds_a_free_lock() -> None:
    bench = Bench()
    bench.rival()
    bench.store.ensure(["a"])
    (term,) = bench.store.claim("rival/1", ["a"])
    bench.declare("a")
    bench.settle()
    bench.store.release(["rival/1"], [term])
    bench.pass_time(TIMING.check_master_interval + 0.1)
    assert bench.said(StartJob)


# --- eviction ---------------------------------------------------------------------------------------------


def a_candidate_watching_a_rival_die() -> Bench:
    bench = Bench()
    bench.rival()
    bench.store.ensure(["a"])
    bench.store.claim("rival/1", ["a"])
    bench.declare("a")
    bench.settle()
    bench.pass_time(1.5)
    bench.store.renew("rival/1", "rival")
    return bench


def test_a_dead_masters_lock_is_taken_when_its_lease_has_passed() -> None:
    bench = a_candidate_watching_a_rival_die()
    bench.pass_time(2.95)
    assert not bench.said(Evict)
    bench.pass_time(0.2)
    assert len(bench.said(StartJob)) == 1


def test_the_lease_that_counts_is_the_rows_not_the_evictors() -> None:
    bench = a_candidate_watching_a_rival_die()
    bench.database.tables.sessions["rival/1"].lease_ms = 30_000
    bench.pass_time(20.0)
    assert not bench.said(StartJob)


def test_an_eviction_names_the_beat_that_was_seen_so_a_late_heartbeat_saves_the_session() -> None:
    bench = a_candidate_watching_a_rival_die()
    bench.pass_time(3.1, but=Evict)
    (evict,) = bench.asked(Evict)
    bench.store.renew("rival/1", "rival")
    bench.answer(evict)
    assert "rival/1" in bench.database.tables.sessions


def test_the_history_says_how_long_the_evicted_was_silent() -> None:
    bench = a_candidate_watching_a_rival_die()
    bench.pass_time(3.2)
    assert (Kind.EVICTED, "rival was silent for 3.002s and was evicted") in bench.history()


def test_an_eviction_in_vain_is_followed_by_a_look_not_by_another_try() -> None:
    bench = a_candidate_watching_a_rival_die()
    bench.clock_offset = -60.0  # the database's clock steps back, so it does not call the session stale
    bench.pass_time(3.2)
    assert len(bench.said(Evict)) <= 2
    bench.pass_time(2.0)
    assert bench.said(StartJob)


def test_an_eviction_that_is_held_up_holds_up_no_other() -> None:
    """Such as that of a master which froze in a guarded transaction: its lock's row is locked by it."""
    bench = Bench()
    for number, name in enumerate("ab"):
        bench.rival(f"rival/{number}", f"rival-{number}")
        bench.store.ensure([name])
        bench.store.claim(f"rival/{number}", [name])
    bench.declare("a", "b")
    bench.settle()
    bench.pass_time(3.2, but=Evict)
    (evict,) = bench.asked(Evict)
    held_up = evict.session_id  # type: ignore[attr-defined]
    bench.now += 4.0
    bench.fail(evict, "lock timeout")
    bench.pass_time(1.5, but=Evict)
    (other,) = bench.asked(Evict)
    assert other.session_id != held_up  # type: ignore[attr-defined]
    bench.answer(other)
    bench.pass_time(0.5, but=Evict)
    assert len(bench.said(StartJob)) == 1
    bench.pass_time(4.0, but=Evict)
    (again,) = bench.asked(Evict)
    assert again.session_id == held_up  # type: ignore[attr-defined]
    assert again.sent >= evict.sent + 8.0, "our claims had time in between"
    bench.answer(again)
    bench.pass_time(0.5)
    assert len(bench.said(StartJob)) == 2


def test_who_was_too_late_to_evict_looks_for_what_that_freed_at_once() -> None:
    bench = a_candidate_watching_a_rival_die()
    bench.pass_time(3.2, but=(Evict,))
    (evict,) = bench.asked(Evict)
    bench.store.evict("rival/1", evict.watched.seen.beat, if_stale=False)  # type: ignore[attr-defined]
    bench.actions.clear()
    bench.answer(evict)
    assert bench.asked(LookForFree) or bench.said(LookForFree)


def test_sessions_are_looked_at_once_a_heartbeat_interval_for_any_number_of_locks() -> None:
    bench = Bench()
    bench.rival()
    names = [f"lock-{number}" for number in range(50)]
    bench.store.ensure(names)
    bench.store.claim("rival/1", names)
    bench.declare(*names)
    bench.settle()
    before = len(bench.said(LookAtSessions))
    for _ in range(10):
        bench.pass_time(1.0)
        bench.store.renew("rival/1", "rival")
    assert len(bench.said(LookAtSessions)) - before == pytest.approx(10, abs=1)
    assert len(bench.said(LookForFree)) <= 4


def test_who_is_master_of_everything_looks_at_nobody() -> None:
    bench = Bench()
    bench.become_master("a")
    before = len(bench.said(LookAtSessions))
    bench.pass_time(30.0)
    assert len(bench.said(LookAtSessions)) == before


# --- a database that refuses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("masters", [(), ("a", "b")])
def test_a_database_that_refuses_everything_is_not_asked_in_a_loop(masters: tuple[str, ...]) -> None:
    bench = Bench()
    if masters:
        bench.become_master(*masters)
    bench.declare("c", "d")
    bench.tell(StepDown("a", "asked"))
    for stop in bench.said(StopJob):
        bench.tell(Stopped(stop.term))
    before, end = len(bench.said(Command)), bench.now + 30.0
    while bench.now < end:
        for command in list(bench.open):
            bench.fail(command, "connection refused")
        bench.now += 0.001 if bench.open else max(0.001, min(bench.elector.next_time(), end) - bench.now)
        bench.tell(Tick())
    assert len(bench.said(Command)) - before < 30 * 5


def test_a_database_that_fails_all_but_the_heartbeats_is_not_asked_in_a_loop() -> None:
    bench = Bench()
    bench.rival()
    bench.declare("a")
    before, end = len(bench.said(Command)), bench.now + 30.0
    while bench.now < end:
        for command in list(bench.open):
            if isinstance(command, Open | Renew | LookForFree):
                bench.answer(command)
            else:
                bench.fail(command, "permission denied")
        bench.now += 0.001 if bench.open else max(0.001, min(bench.elector.next_time(), end) - bench.now)
        bench.tell(Tick())
    assert len(bench.said(Command)) - before < 30 * 6


# --- the end ----------------------------------------------------------------------------------------------


def test_leaving_stops_the_jobs_then_releases_then_removes_the_session() -> None:
    bench = Bench()
    term = bench.become_master("a")
    bench.tell(Leave("the process ends"))
    assert bench.said(StopJob)
    assert not bench.said(Depart)
    bench.tell(Stopped(term))
    bench.settle()
    bench.tell(Tick())
    bench.settle()
    assert bench.database.tables.locks["a"].holder is None
    assert not bench.database.tables.sessions
    assert bench.elector.idle


def test_who_leaves_takes_part_in_nothing_that_is_declared_later() -> None:
    """Such as a change of timing that was on its way when the process began to end."""
    bench = Bench()
    term = bench.become_master("a")
    bench.tell(Leave("the process ends"))
    bench.tell(Declare("a", SLOW))
    bench.tell(Declare("b", TIMING))
    bench.tell(Stopped(term))
    bench.settle()
    bench.pass_time(10.0)
    assert len(bench.said(StartJob)) == 1
    assert bench.elector.idle


def test_a_lock_that_is_withdrawn_while_it_is_being_claimed_is_given_back() -> None:
    bench = Bench()
    bench.declare("a", "b")
    bench.settle(but=Claim)
    bench.pass_time(0.1, but=Claim)
    bench.tell(Withdraw("a", "closed"))
    bench.settle()
    assert bench.database.tables.locks["a"].holder is None
    assert [start.term.lock_name for start in bench.said(StartJob)] == ["b"]
    assert bench.elector.why("a") is None


def test_a_hundred_locks_released_at_once_go_in_few_statements() -> None:
    bench = Bench()
    names = [f"lock-{number}" for number in range(100)]
    bench.become_master(*names)
    bench.tell(Leave("the process ends"))
    for stop in bench.said(StopJob):
        bench.tell(Stopped(stop.term))
    bench.settle()
    assert len(bench.said(Release)) <= 3
