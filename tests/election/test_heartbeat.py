"""Heartbeats and trust, on virtual time."""

from collections.abc import Callable

import pytest

from masterjob.election.core.actions import Abandon, StartJob, StopJob
from masterjob.election.core.commands import (
    CloseSession,
    OpenSession,
    Release,
    Renew,
    StoreCommand,
)
from masterjob.election.core.events import (
    Declare,
    JobStopped,
    Tick,
)
from masterjob.election.timing import Timing
from tests.election.harness import SLOW, TIMING, ElectorHarness, single


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


RETRY_COUNTS = pytest.mark.parametrize("retries", [0, 1, 3, 100])
OUTAGES = pytest.mark.parametrize(
    "advance",
    [ElectorHarness.advance_without_replies, ElectorHarness.advance_refused],
    ids=["does not answer", "refuses at once"],
)
Advance = Callable[[ElectorHarness, float], None]


def start_master(timing: Timing) -> ElectorHarness:
    """Return the harness of a master; the first heartbeat was sent at 100.0."""
    harness = ElectorHarness()
    harness.declare("a", timing=timing)
    harness.answer_all()
    return harness


@RETRY_COUNTS
@OUTAGES
def test_the_job_runs_until_the_trust_ends_whatever_fails_before(advance: Advance, retries: int) -> None:
    timing = Timing.of(1.0, stop_timeout=0.5, max_heartbeat_retry_count=retries)
    harness = start_master(timing)
    (term,) = [start.term for start in harness.actions_of(StartJob)]
    advance(harness, timing.trust_duration - (harness.now - 100.0) - 0.001)
    assert not harness.actions_of(StopJob)
    advance(harness, 0.001)
    assert single(harness.actions, StopJob).term == term


@pytest.mark.parametrize(
    ("timing", "seconds"),
    [(Timing.of(1.0, 3.0, 0.5), 1.4), (Timing.of(), 13.0), (Timing.of(15.0, 60.0), 41.0)],
    ids=["fast", "default", "long lease"],
)
@OUTAGES
def test_an_outage_of_the_documented_length_stops_no_job(advance: Advance, timing: Timing, seconds: float) -> None:
    """The table in docs/production.md; the worst case begins just before a heartbeat is sent."""
    if advance is ElectorHarness.advance_without_replies:
        seconds = timing.trust_duration - timing.heartbeat_interval - min(0.5, timing.heartbeat_interval / 4)
    for begin in (1.0, 0.99, 0.7, 0.3, 0.1):
        harness = start_master(timing)
        harness.advance(timing.heartbeat_interval * begin - 0.001)
        advance(harness, seconds)
        harness.pending_commands.clear()
        harness.advance(timing.lease_duration)
        assert not harness.actions_of(StopJob)


def test_without_retries_the_next_attempt_comes_when_the_next_heartbeat_is_due() -> None:
    harness = start_master(Timing.of(8.0, 60.0, max_heartbeat_retry_count=0))
    failed = harness.next_heartbeat()
    harness.fail(failed)
    assert harness.next_heartbeat().sent == pytest.approx(failed.sent + 8.0, abs=0.02)


def test_the_answer_to_a_heartbeat_that_was_in_flight_during_a_freeze_counts() -> None:
    timing = Timing.of(1.0, 6.0, 1.5)
    harness = start_master(timing)
    (term,) = [start.term for start in harness.actions_of(StartJob)]
    for _ in range(5):
        heartbeat = harness.next_heartbeat()
        harness.now += 2.0
        harness.submit(Tick())
        harness.answer(heartbeat)
        assert harness.elector.trusted_until(term) == pytest.approx(heartbeat.sent + timing.trust_duration)
    assert not harness.actions_of(Abandon)
    assert not harness.actions_of(StopJob)


def test_a_heartbeat_without_an_answer_after_a_freeze_is_repeated_on_a_fresh_connection() -> None:
    harness = start_master(Timing.of(1.0, 6.0, 1.5))
    lost = harness.next_heartbeat()
    harness.now += 2.0
    harness.advance(1.0, except_for=Renew)
    assert lost in [abandoned.command for abandoned in harness.actions_of(Abandon)]
    assert harness.next_heartbeat() is not lost
    assert not harness.actions_of(StopJob)


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


def test_a_heartbeats_calls_time_out_within_half_of_the_trust() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.advance(1.0)
    assert all(command.timeout <= TIMING.trust_duration / 2 for command in harness.actions_of(Renew))


def test_an_evicted_master_has_nothing_to_release() -> None:
    harness = ElectorHarness()
    term = harness.become_master("a")
    harness.store.close_session("me/1")
    harness.answer(harness.next_heartbeat())
    harness.submit(JobStopped(term))
    assert not harness.actions_of(Release)
    assert harness.elector.explain("a") == "stepped down: its session was evicted"


def test_a_session_that_cannot_be_closed_is_left_to_the_other_instances() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.submit(Declare("a", SLOW))
    harness.answer_all(except_for=CloseSession)
    harness.advance(0.1, except_for=CloseSession)
    harness.fail(harness.pending(CloseSession)[0])
    harness.advance(3.0)
    assert len(harness.actions_of(CloseSession)) == 1


def test_the_trust_in_a_new_session_counts_from_when_its_opening_was_sent() -> None:
    harness = ElectorHarness()
    harness.declare("a")
    opening = harness.next_heartbeat()
    harness.now += 0.9
    harness.answer(opening)
    harness.answer_all()
    term = harness.elector.current_term("a")
    assert term is not None
    assert harness.elector.trusted_until(term) == pytest.approx(opening.sent + TIMING.trust_duration)


def seconds_until_abandoned(freeze: float) -> float:
    """Return how long a heartbeat may still take after a freeze."""
    harness = start_master(Timing.of(0.4, 3.0, stop_timeout=0.1, max_heartbeat_retry_count=20))
    harness.next_heartbeat()
    harness.now += freeze
    harness.submit(Tick())
    frozen_until = harness.now
    while not harness.actions_of(Abandon):
        harness.now = harness.elector.next_tick_at()
        harness.submit(Tick())
    return harness.now - frozen_until


def test_a_freeze_counts_as_a_quarter_of_the_shortest_timeout() -> None:
    assert seconds_until_abandoned(0.3) == pytest.approx(seconds_until_abandoned(0.0) * 3 / 4)
