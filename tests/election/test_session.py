"""The trust of a session."""

from itertools import pairwise

import pytest

from masterjob.election.core.session import ATTEMPT_TIME, MIN_RETRY_DELAY, NEVER, Session, SessionPhase
from masterjob.election.timing import Timing

TIMING = Timing.of(8.0)  # lease 24 s, margin 2.48 s, trust 21.52 s


def trusted_session(timing: Timing = TIMING) -> Session:
    session = Session("s", timing, now=0.0)
    session.record_renewal(sent=0.0, now=0.0)
    return session


def test_trust_is_counted_from_the_sending_not_from_the_reply() -> None:
    session = trusted_session()
    session.record_renewal(sent=8.0, now=15.0)
    assert session.trusted_until == pytest.approx(8.0 + 21.52)


def test_trust_ends_before_the_lease_by_the_stop_timeout_and_two_percent() -> None:
    session = trusted_session()
    assert session.expires_at - session.trusted_until == pytest.approx(2.0 + 0.02 * 24)


def test_a_late_reply_of_an_older_renewal_takes_nothing_away() -> None:
    session = trusted_session()
    session.record_renewal(sent=8.0, now=8.1)
    session.record_renewal(sent=3.0, now=9.0)
    assert session.trusted_until == pytest.approx(8.0 + 21.52)


def test_a_renewal_whose_trust_is_over_when_it_is_answered_gives_none() -> None:
    session = trusted_session()
    session.phase = SessionPhase.UNTRUSTED
    session.record_renewal(sent=1.0, now=60.0)
    assert session.phase is SessionPhase.UNTRUSTED
    assert session.trust_left(60.0) == 0


def test_a_session_that_is_not_open_yet_is_not_trusted() -> None:
    assert Session("s", TIMING, now=0.0).trust_left(0.0) == 0


def test_a_session_that_was_evicted_or_closed_is_not_trusted_any_more() -> None:
    evicted, closed = trusted_session(), trusted_session()
    evicted.phase = SessionPhase.UNTRUSTED
    closed.is_retired = True
    assert evicted.trust_left(1.0) == closed.trust_left(1.0) == 0


def test_a_claim_needs_a_heartbeat_of_trust_besides_the_stop_that_the_margin_holds() -> None:
    session = trusted_session()
    assert session.can_claim(21.52 - 8.0 - 0.01)
    assert not session.can_claim(21.52 - 8.0 + 0.01)


def test_a_long_stop_does_not_forbid_claims() -> None:
    """If a claim needed ``stop timeout + heartbeat`` of *trust*, such a lock could never be claimed."""
    assert trusted_session(Timing.of(1.0, stop_timeout=30.0)).can_claim(0.1)


def attempts_until_the_trust_ends(session: Session, seconds: float = 0.0) -> list[tuple[float, float]]:
    """Let each attempt fail after ``seconds`` or its timeout; return the time and the timeout of each."""
    attempts, now = [], session.renew_at
    while now < session.trusted_until:
        timeout = session.attempt_timeout(now)
        attempts.append((now, timeout))
        session.record_failure(now, now + min(seconds, timeout), jitter=0.5)
        now = session.renew_at
    return attempts


TIMINGS = [
    *(Timing.of(8.0, max_heartbeat_retry_count=retries) for retries in (0, 1, 3, 10, 100)),
    Timing.of(1.0, 3.0, stop_timeout=0.5),
    Timing.of(15.0, 60.0),
    Timing.of(0.1, stop_timeout=0.0, max_heartbeat_retry_count=100),
]


@pytest.mark.parametrize("timing", TIMINGS)
def test_retries_that_fail_at_once_go_on_to_the_very_end_of_the_trust(timing: Timing) -> None:
    session = trusted_session(timing)
    times = [sent for sent, _ in attempts_until_the_trust_ends(session)]
    assert session.trusted_until - times[-1] <= MIN_RETRY_DELAY
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) <= timing.heartbeat_interval
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(gaps))


@pytest.mark.parametrize("retries", [0, 1, 3, 10])
def test_the_retry_count_is_how_many_retries_are_evenly_spaced_over_the_trust(retries: int) -> None:
    timing = Timing.of(8.0, max_heartbeat_retry_count=retries)
    attempts = attempts_until_the_trust_ends(trusted_session(timing))
    spacing = (21.52 - 8.0) / (retries + 1)
    evenly_spaced = [8.0 + spacing * number for number in range(retries + 1)]
    assert [sent for sent, _ in attempts][: retries + 1] == pytest.approx(evenly_spaced)


@pytest.mark.parametrize("timing", TIMINGS)
def test_attempts_that_hang_leave_trust_for_the_next_until_only_one_fits(timing: Timing) -> None:
    attempts = attempts_until_the_trust_ends(trusted_session(timing), NEVER)
    enough = min(ATTEMPT_TIME, timing.heartbeat_interval / 4)
    for (sent, timeout), (next_sent, _) in pairwise(attempts):
        assert timeout >= enough
        assert next_sent == pytest.approx(sent + timeout)
    last_sent, last_timeout = attempts[-1]
    assert last_sent + last_timeout == pytest.approx(timing.trust_duration)
    assert last_timeout <= enough + 1e-9


def test_an_attempt_that_failed_in_a_freeze_is_repeated_at_once() -> None:
    session = trusted_session()
    session.record_failure(sent=8.0, now=14.0, jitter=0.5)
    assert session.renew_at == 14.0


def test_without_trust_the_next_attempt_comes_soon_and_is_spread_by_jitter() -> None:
    session = trusted_session()
    session.phase = SessionPhase.UNTRUSTED
    session.record_failure(sent=30.0, now=30.0, jitter=0.0)
    soonest = session.renew_at
    session.record_failure(sent=30.0, now=30.0, jitter=1.0)
    assert 30.0 < soonest < session.renew_at == 32.0


def test_the_clock_alone_leads_from_trust_to_expiry() -> None:
    session = trusted_session()
    assert session.next_expiry() == session.trusted_until
    session.phase = SessionPhase.UNTRUSTED
    assert session.next_expiry() == session.expires_at
    session.phase = SessionPhase.EXPIRED
    assert session.next_expiry() == NEVER


def test_the_row_never_has_a_shorter_lease_than_the_master_computes_with() -> None:
    assert Timing.of(1.0, 12.2444443, 10.0 * 0.9).lease_ms >= 12244.4443
