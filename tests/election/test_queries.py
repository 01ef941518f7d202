"""What other threads ask an elector, on virtual time."""

import pytest

from masterjob.election.core.actions import StopJob
from masterjob.election.core.events import Declare, JobStopped, StepDown, Withdraw
from masterjob.election.core.session import LONG_AGO, NEVER
from masterjob.election.values import LostPolicy, Term
from tests.election.harness import SLOW, TIMING, ElectorHarness, single


def test_a_candidate_waits_from_the_end_of_its_initial_delay_on() -> None:
    harness = ElectorHarness()
    assert not harness.elector.is_waiting("a")
    harness.add_rival()
    harness.store.ensure_locks(["a"])
    harness.store.claim("rival/1", ["a"])
    harness.submit(Declare("a", TIMING, init_delay=0.5))
    harness.answer_all()
    assert not harness.elector.is_waiting("a")
    harness.advance(0.5)
    assert harness.elector.is_waiting("a")


def test_a_master_does_not_wait() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    assert not harness.elector.is_waiting("a")


def test_only_a_term_that_is_served_is_trusted() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    assert harness.elector.trusted_until(term) == pytest.approx(100.0 + TIMING.trust_duration)
    assert harness.elector.trusted_until(Term("a", term.number - 1)) == LONG_AGO
    assert harness.elector.trusted_until(Term("unknown", 1)) == LONG_AGO
    harness.submit(StepDown("a", "asked"))
    assert harness.elector.trusted_until(term) == LONG_AGO
    assert harness.elector.current_term("a") is None


def test_the_next_expiry_is_the_end_of_the_first_trust_of_a_term_and_then_of_its_lease() -> None:
    harness = ElectorHarness()
    assert harness.elector.next_expiry() == NEVER
    term = harness.become_master("a")
    harness.declare("b", timing=SLOW)  # its session has no term: a rival holds the lock
    assert harness.elector.next_expiry() == harness.elector.trusted_until(term)
    harness.advance_without_replies(TIMING.trust_duration)
    assert harness.elector.next_expiry() == pytest.approx(100.0 + TIMING.lease_duration)
    harness.submit(JobStopped(term))
    harness.answer_all()
    assert harness.elector.next_expiry() > harness.now


def test_a_change_of_the_lost_policy_counts_for_the_term_that_runs() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    assert harness.elector.exit_deadline() == NEVER
    harness.submit(Declare("a", TIMING, LostPolicy.EXIT))
    assert harness.elector.exit_deadline() == pytest.approx(100.0 + TIMING.lease_duration)


def test_an_instance_without_locks_and_sessions_is_idle() -> None:
    harness = ElectorHarness()
    assert harness.elector.is_idle
    harness.declare("a")
    assert not harness.elector.is_idle


def test_a_lease_limits_the_process_no_longer_than_a_job_that_must_not_outlive_it() -> None:
    harness = ElectorHarness()
    harness.submit(Declare("a", TIMING, LostPolicy.EXIT))
    harness.become_master("b")
    assert harness.elector.exit_deadline() < NEVER
    harness.submit(Withdraw("a", "closed"))
    harness.submit(JobStopped(single(harness.actions, StopJob).term))
    assert harness.elector.exit_deadline() == NEVER
