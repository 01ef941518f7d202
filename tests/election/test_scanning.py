"""When a candidate looks for free locks, and what it claims with one statement, on virtual time."""

import pytest

from masterjob.election.core.actions import StartJob
from masterjob.election.core.commands import Claim, EnsureLocks, ListVacancies
from masterjob.election.core.events import Declare, LocksChanged, Reply, Withdraw
from masterjob.election.values import Vacancies
from tests.election.harness import SLOW, TIMING, ElectorHarness


def candidate() -> ElectorHarness:
    """Return an instance that has looked once: its lock is held by another one."""
    harness = ElectorHarness()
    harness.add_rival(lease_ms=60_000)
    harness.store.ensure_locks(["a"])
    harness.store.claim("rival/1", ["a"])
    harness.declare("a")
    harness.answer_all()
    harness.advance(0.4)
    return harness


def scans_until(harness: ElectorHarness, seconds: float) -> int:
    before = len(harness.actions_of(ListVacancies))
    harness.advance(seconds)
    return len(harness.actions_of(ListVacancies)) - before


def test_a_scan_that_failed_is_repeated_after_a_second() -> None:
    harness = candidate()
    harness.submit(LocksChanged())
    harness.fail(harness.pending(ListVacancies)[0])
    assert scans_until(harness, 0.99) == 0
    assert scans_until(harness, 0.02) == 1


@pytest.mark.parametrize(("next_enable_ms", "seconds"), [(1500, 1.5), (60_000, TIMING.check_master_interval)])
def test_the_next_scan_comes_when_the_next_timed_disable_ends(next_enable_ms: int, seconds: float) -> None:
    harness = candidate()
    harness.submit(LocksChanged())
    (scan,) = harness.pending(ListVacancies)
    harness.pending_commands.remove(scan)
    harness.submit(Reply(scan, Vacancies((), 1, 2, next_enable_ms, 1)))
    assert scans_until(harness, seconds - 0.01) == 0
    assert scans_until(harness, 0.02) == 1


def test_a_scan_that_left_nothing_over_is_not_repeated_after_a_quarter_second() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    harness.declare("a")
    harness.answer_all()
    harness.advance(0.1)
    assert harness.actions_of(StartJob)
    assert scans_until(harness, 1.0) == 0


def test_a_change_causes_a_scan_only_if_the_lock_is_waited_for() -> None:
    harness = candidate()
    harness.submit(LocksChanged(frozenset({"other"})))
    assert not harness.pending(ListVacancies)
    harness.submit(LocksChanged(frozenset({"a", "other"})))
    assert harness.pending(ListVacancies)


def test_a_claim_is_not_sent_for_a_lock_that_was_withdrawn_meanwhile() -> None:
    harness = ElectorHarness()
    harness.add_rival()
    harness.declare("a")
    harness.answer_all()
    harness.submit(Withdraw("a", "closed"))
    harness.declare("b")
    harness.answer_all()
    harness.advance(0.5)
    assert [claim.lock_names for claim in harness.actions_of(Claim)] == [("b",)]


def test_locks_of_two_timings_are_claimed_by_one_statement_each_after_one_scan() -> None:
    harness = ElectorHarness()
    for name, timing in (("a", TIMING), ("b", TIMING), ("c", SLOW)):
        harness.submit(Declare(name, timing, init_delay=0.5))
    harness.answer_all()
    scans = len(harness.actions_of(ListVacancies))
    harness.advance(0.6)
    assert sorted(claim.lock_names for claim in harness.actions_of(Claim)) == [("a", "b"), ("c",)]
    assert len(harness.actions_of(ListVacancies)) - scans == 1
    assert len(harness.actions_of(StartJob)) == 3


def _answer_scan(harness: ElectorHarness, lock_count: int, forgotten_count: int) -> None:
    harness.submit(LocksChanged())
    (scan,) = harness.pending(ListVacancies)
    harness.pending_commands.remove(scan)
    vacancies = Vacancies((), 1, 2, None, lock_count, forgotten_count=forgotten_count)
    harness.submit(Reply(scan, vacancies))
    harness.advance(0.0, except_for=EnsureLocks)


def test_the_rows_are_written_again_after_locks_were_forgotten_even_if_others_were_added() -> None:
    harness = candidate()
    _answer_scan(harness, lock_count=1, forgotten_count=0)
    assert harness.pending(EnsureLocks) == []
    _answer_scan(harness, lock_count=2, forgotten_count=1)
    (ensure,) = harness.pending(EnsureLocks)
    assert isinstance(ensure, EnsureLocks)
    assert ensure.lock_names == ("a",)
