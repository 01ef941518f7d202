"""What an instance says about a lock: reasons in the log and the history, and its explanation, on virtual time."""

import pytest

from masterjob.election.core.actions import RecordTransition, StopJob
from masterjob.election.core.commands import Claim, Move, Release
from masterjob.election.core.events import Declare, JobStartFailed, JobStopped, LocksChanged, StepDown, Withdraw
from masterjob.election.values import HistoryEntry, TransitionKind
from tests.election.harness import SLOW, TIMING, ElectorHarness, single


def stop_reason(harness: ElectorHarness) -> str:
    return single(harness.actions, StopJob).reason


def test_an_evicted_master_says_so() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.store.close_session("me/1")
    harness.advance(1.0)
    assert stop_reason(harness) == "its session was evicted"


def test_a_master_whose_lock_another_holds_says_so() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.add_rival()
    harness.database.tables.locks["a"].holder = "rival/1"
    harness.advance(1.0)
    assert stop_reason(harness) == "the database no longer names it master"


def test_a_master_whose_trust_ends_says_for_how_long_nothing_was_confirmed() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.now += TIMING.lease_duration
    harness.submit(LocksChanged())
    assert stop_reason(harness) == "no heartbeat was confirmed for 2.44s"


def test_a_master_whose_start_failed_says_why() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(JobStartFailed(term, "boom"))
    assert stop_reason(harness) == "start failed: boom"


def test_a_master_whose_lock_is_disabled_says_so() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.database.disable("a")
    harness.advance(1.0)
    assert stop_reason(harness) == "disabled"


@pytest.mark.parametrize("event", [StepDown("a", "asked by ann"), Withdraw("a", "asked by ann")])
def test_a_master_that_is_asked_to_end_repeats_the_reason(event: StepDown | Withdraw) -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.submit(event)
    assert stop_reason(harness) == "asked by ann"


def test_a_master_whose_term_could_not_move_says_so() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.submit(Declare("a", SLOW))
    harness.answer_all(except_for=Move)
    harness.add_rival()
    harness.database.tables.locks["a"].holder = "rival/1"
    harness.answer(harness.pending(Move)[0])
    assert stop_reason(harness) == "the database no longer names it master"


def test_a_master_whose_timing_is_changed_back_too_soon_says_so() -> None:
    harness = ElectorHarness()
    harness.become_master("a", "keeps the session")
    harness.submit(Declare("a", SLOW))
    harness.answer_all(except_for=Move)
    harness.fail(harness.pending(Move)[0])
    harness.advance(2.0)
    harness.submit(Declare("a", TIMING))
    harness.advance(1.5)
    assert stop_reason(harness) == "its timing was changed back while an earlier change was in doubt"


def test_the_explanation_follows_a_lock_from_its_declaration_to_its_end() -> None:
    harness = ElectorHarness()
    assert harness.elector.explain("a") is None
    harness.declare("a")
    assert harness.elector.explain("a") == "not checked yet"
    harness.answer_all(except_for=Claim)
    assert harness.elector.explain("a") == "waiting for the lock to be free"
    harness.answer_all()
    term = harness.elector.current_term("a")
    assert term is not None
    assert harness.elector.explain("a") == f"master since term {term.number}"
    harness.submit(StepDown("a", "asked"))
    assert harness.elector.explain("a") == "stopping: asked"
    harness.submit(JobStopped(term))
    assert harness.elector.explain("a") == "releasing: asked"
    harness.answer_all()
    assert harness.elector.explain("a") == "stepped down: asked"
    harness.submit(Withdraw("a", "closed"))
    assert harness.elector.explain("a") is None


def test_a_claim_that_was_not_granted_waits_for_the_lock_again() -> None:
    harness = ElectorHarness()
    harness.declare("a")
    harness.answer_all(except_for=Claim)
    harness.fail(harness.pending(Claim)[0])
    assert harness.elector.explain("a") == "waiting for the lock to be free"


@pytest.mark.parametrize("wanted", [True, False])
def test_a_grant_that_is_not_served_is_released_with_its_reason(wanted: bool) -> None:
    harness = ElectorHarness()
    harness.declare("a", "b")
    harness.answer_all(except_for=Claim)
    (claim,) = harness.pending(Claim)
    if wanted:
        harness.now += TIMING.trust_duration
    else:
        harness.submit(Withdraw("a", "closed"))
    harness.answer(claim)
    reason = "the grant came too late" if wanted else "not wanted any more"
    harness.answer(harness.pending(Release)[0])
    assert (TransitionKind.STEPPED_DOWN, f"me stepped down from a: {reason}") in harness.history()


def test_an_entry_of_the_history_names_lock_term_and_instance() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    entry = single(harness.actions, RecordTransition).entry
    assert entry == HistoryEntry("a", term.number, TransitionKind.ELECTED, "me became master of a", "me")


def test_the_history_has_the_whole_life_of_a_term() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.advance_without_replies(TIMING.lease_duration)
    harness.submit(JobStopped(term))
    harness.answer_all()
    assert harness.history()[:2] == [
        (TransitionKind.ELECTED, "me became master of a"),
        (TransitionKind.OVERRUN, "stop of a has not returned by the end of its lease"),
    ]


def test_a_job_that_never_started_ends_with_its_own_reason() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.submit(JobStopped(term))
    harness.answer_all()
    reason = "me stepped down from a: its trust ended before the job was started"
    assert (TransitionKind.STEPPED_DOWN, reason) in harness.history()
