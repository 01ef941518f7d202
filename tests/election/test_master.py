"""Stop, then release, on virtual time."""

from itertools import pairwise

import pytest

from masterjob.election.core.actions import Overrun, StartJob, StopJob
from masterjob.election.core.batches import halves
from masterjob.election.core.commands import (
    RETRY_DELAY,
    Release,
)
from masterjob.election.core.events import (
    Declare,
    JobStarted,
    JobStartFailed,
    JobStopped,
    StepDown,
    Withdraw,
)
from masterjob.election.timing import Timing
from masterjob.election.values import LostPolicy, Term, TransitionKind
from tests.election.harness import TIMING, ElectorHarness, single


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


def test_a_release_without_an_answer_is_retried() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(StepDown("a", "asked"))
    harness.submit(JobStopped(term))
    harness.fail(harness.pending(Release)[0])
    harness.advance(1.5)
    assert len(harness.actions_of(Release)) == 2
    assert (TransitionKind.STEPPED_DOWN, "me stepped down from a: asked") in harness.history()


def test_one_locked_row_delays_no_other_release_for_long() -> None:
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
                harness.advance(3.0, except_for=Release)
                harness.fail(release, "lock timeout")
            else:
                harness.answer(release)
        harness.advance(1.0, except_for=Release)
    held = [name for name in names if harness.database.tables.locks[name].holder is not None]
    assert held == ["lock-3"]
    attempts = [release for release in harness.actions_of(Release) if release.terms == (Term("lock-3", locked),)]
    pauses = [later.sent - earlier.sent for earlier, later in pairwise(attempts)]
    assert pauses, "it must be retried alone"
    assert min(pauses) >= 6.0, "the connection must be free for as long as it was blocked"


def test_a_release_that_failed_in_a_freeze_is_retried_as_if_there_had_been_none() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(Withdraw("a", "closed"))
    harness.submit(JobStopped(term))
    (release,) = harness.pending(Release)
    harness.now += 10.0
    harness.fail(release, "connection lost")
    failed_at = harness.now
    harness.advance(1.1)
    again = harness.actions_of(Release)[-1]
    assert again is not release
    assert again.sent <= failed_at + RETRY_DELAY


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


def test_the_stop_of_an_evicted_master_has_its_stop_timeout_and_not_the_rest_of_its_lease() -> None:
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
    harness.now = 10_000.0
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


def test_a_start_that_ran_for_a_long_time_before_it_failed_counts_as_a_success() -> None:
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
    for attempt in range(3):
        term = harness.actions_of(StartJob)[-1].term
        harness.submit(JobStartFailed(term, "boom"))
        harness.submit(JobStopped(term))
        harness.answer_all()
        harness.advance(1.3)
        assert len(harness.actions_of(StartJob)) == attempt + 2, "the pause is that of a first failure"
        harness.submit(JobStarted(harness.actions_of(StartJob)[-1].term))


def test_releases_that_fail_together_are_retried_after_a_second_however_long_they_took() -> None:
    harness = ElectorHarness()
    harness.become_master("a", "b", "c")
    for name in "abc":
        harness.submit(JobStopped(single(harness.submit(Withdraw(name, "closed")), StopJob).term))
    harness.answer(harness.pending(Release)[0])
    (both,) = harness.pending(Release)
    assert len(both.terms) == 2  # type: ignore[attr-defined]
    harness.advance(4.0, except_for=Release)
    harness.fail(both, "lock timeout")
    harness.advance(1.01, except_for=Release)
    assert harness.pending(Release)


def test_an_overrun_names_its_term() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.advance_without_replies(TIMING.lease_duration)
    assert single(harness.actions, Overrun).term == term


def test_a_batch_that_fails_is_halved() -> None:
    assert halves((1, 2, 3, 4, 5)) == [(1, 2, 3), (4, 5)]
    assert halves((1,)) == [(1,)]


def test_a_release_that_failed_is_retried_after_a_second_even_if_nothing_else_happens() -> None:
    harness = ElectorHarness()
    harness.declare("a", timing=Timing.of(8.0))
    harness.answer_all()
    harness.submit(StepDown("a", "asked"))
    harness.submit(JobStopped(single(harness.actions, StopJob).term))
    harness.fail(harness.pending(Release)[0])
    assert harness.elector.next_tick_at() == pytest.approx(harness.now + RETRY_DELAY)
