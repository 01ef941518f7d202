"""Heartbeats and trust, on virtual time."""

import pytest

from masterjob.election.core.actions import Abandon, StartJob, StopJob
from masterjob.election.core.commands import (
    OpenSession,
    Renew,
    StoreCommand,
)
from masterjob.election.core.events import (
    Declare,
    JobStopped,
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


def test_a_heartbeats_calls_time_out_within_half_of_the_trust() -> None:
    harness = ElectorHarness()
    harness.become_master("a")
    harness.advance(1.0)
    assert all(command.timeout <= TIMING.trust_duration / 2 for command in harness.actions_of(Renew))
