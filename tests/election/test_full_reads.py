"""What is read in full after an inventory differed, and what ends without a cooldown, on virtual time."""

import pytest

from masterjob.election.core.actions import StartJob, StopJob
from masterjob.election.core.commands import (
    ReadHeldTerms,
    Release,
)
from masterjob.election.core.events import (
    JobStopped,
    LocksChanged,
    Reply,
    StepDown,
)
from tests.election.harness import ElectorHarness, single


def test_an_inventory_that_matches_is_not_read_in_full() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.advance(5.0)
    assert not harness.actions_of(ReadHeldTerms)


def test_a_full_read_that_fails_is_repeated_with_the_next_heartbeat() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.store.ensure_locks(["unexpected"])
    harness.store.claim("me/1", ["unexpected"])
    harness.advance(1.0, except_for=ReadHeldTerms)
    harness.fail(harness.pending(ReadHeldTerms)[0])
    harness.advance(1.5)
    assert harness.database.tables.locks["unexpected"].holder is None


@pytest.mark.parametrize("released", [True, False])
def test_what_was_read_before_a_release_says_nothing_about_its_term(released: bool) -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.store.ensure_locks(["unexpected"])
    harness.store.claim("me/1", ["unexpected"])
    harness.advance(1.0, except_for=ReadHeldTerms)
    (read,) = harness.pending(ReadHeldTerms)
    rows = read.execute(harness.store)
    harness.submit(StepDown("a", "asked"))
    harness.submit(JobStopped(term))
    if released:
        harness.answer(harness.pending(Release)[0])
    harness.actions.clear()
    harness.pending_commands.remove(read)
    harness.submit(Reply(read, rows))
    harness.answer_all()
    assert term not in [term for release in harness.actions_of(Release) for term in release.terms]


def test_a_lock_that_is_enabled_again_is_claimed_without_a_cooldown() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.database.disable("a")
    harness.submit(LocksChanged())
    harness.answer_all()
    harness.database.enable("a")
    harness.submit(JobStopped(term))
    harness.submit(LocksChanged())
    harness.answer_all()
    harness.advance(0.1)
    assert len(harness.actions_of(StartJob)) == 2


def test_an_evicted_master_competes_again_as_soon_as_its_job_has_stopped() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.store.close_session("me/1")
    harness.answer(harness.next_heartbeat())
    harness.submit(JobStopped(term))
    harness.answer_all()
    harness.advance(0.1)
    assert len(harness.actions_of(StartJob)) == 2


def test_a_term_that_has_another_number_in_the_database_is_stopped() -> None:
    """A failover can lose a claim and the next one: the number of terms is the same, their sum is not."""
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.database.tables.locks["a"].term += 5
    harness.advance(1.0)
    assert single(harness.actions, StopJob).term == term
