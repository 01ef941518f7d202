"""One session of this instance: how long it can be trusted.

Arithmetic only. All times are seconds of the local clock, passed in by the caller.
"""

from dataclasses import dataclass
from enum import Enum

from masterjob.election.timing import Timing

NEVER = float("inf")
LONG_AGO = float("-inf")
MAX_RECONNECT_DELAY = 2.0
"""The longest delay between two attempts while there is no trust, in seconds."""


class SessionPhase(Enum):
    """What the session allows its terms to do."""

    NEW = "not opened yet: nothing can be claimed"
    TRUSTED = "jobs run"
    UNTRUSTED = "the trust is over: jobs are being stopped, while the lease still excludes other instances"
    EXPIRED = "the lease is over: another instance may be master"


@dataclass(frozen=True, slots=True)
class HeartbeatConnection:
    """The connection of one session's heartbeats; a call takes at most ``timeout`` seconds."""

    name: str
    timeout: float


class Session:
    """A session's id, its timing, and the two deadlines that every heartbeat moves."""

    def __init__(self, session_id: str, timing: Timing, now: float) -> None:
        self.id = session_id
        self.timing = timing
        self.connection = HeartbeatConnection(
            session_id, min(timing.heartbeat_interval, timing.trust_duration / 2)
        )
        self.phase = SessionPhase.NEW
        self.trusted_until = LONG_AGO
        self.expires_at = LONG_AGO
        self.renew_at = now
        self.heartbeat_in_flight = False
        self.failures = 0
        self.is_retired = False
        """Evicted or closed: it is never again renewed, and nothing is claimed or released on it."""
        self.locks: set[str] = set()
        """The locks whose term depends on this session, from the grant to the end of the release."""
        self.exit_locks: set[str] = set()
        """Those of them whose jobs must not outlive the lease (``lostPolicy: exit``)."""

    @property
    def is_trusted(self) -> bool:
        """Whether its terms can be trusted, as far as the clock has been considered."""
        return self.phase is SessionPhase.TRUSTED and not self.is_retired

    def trust_left(self, now: float) -> float:
        """Return for how many seconds its terms can still be trusted."""
        return max(0.0, self.trusted_until - now) if self.is_trusted else 0.0

    def can_claim(self, now: float) -> bool:
        """Return whether one heartbeat interval of trust is left; the margin already includes the stop."""
        return self.trust_left(now) >= self.timing.heartbeat_interval

    def record_renewal(self, sent: float, now: float) -> None:
        """Extend the trust, counted from when the renewal was sent, however late its reply came."""
        self.trusted_until = max(self.trusted_until, sent + self.timing.trust_duration)
        self.expires_at = max(self.expires_at, sent + self.timing.lease_duration)
        self.phase = SessionPhase.TRUSTED if now < self.trusted_until else SessionPhase.UNTRUSTED
        self.failures = 0
        self.renew_at = sent + self.timing.heartbeat_interval

    def attempt_timeout(self, now: float) -> float:
        """Return how long the next attempt may take, so that all retries fit in the remaining trust."""
        attempts_left = max(1, self.timing.max_heartbeat_retry_count + 1 - self.failures)
        share = self.trust_left(now) / (attempts_left + 1)
        if share <= 0:
            share = self.timing.trust_duration / 2
        return min(share, self.timing.heartbeat_interval)

    def record_failure(self, sent: float, now: float, jitter: float) -> None:
        """Count a failed renewal and schedule the next one.

        While there is trust, the next attempt begins when this attempt's share of it is over. Without trust it
        begins soon, spread by ``jitter`` (0 to 1), so that not all instances hit a recovered database at once.
        """
        share = self.attempt_timeout(sent)
        self.failures += 1
        if self.phase is SessionPhase.TRUSTED:
            self.renew_at = max(now, sent + share)
        else:
            self.renew_at = now + min(share, MAX_RECONNECT_DELAY) * (0.5 + jitter / 2)

    @property
    def retries_exhausted(self) -> bool:
        """Whether the retries are used up."""
        return self.failures > self.timing.max_heartbeat_retry_count

    def next_expiry(self) -> float:
        """Return when the session enters its next phase unless it is renewed."""
        if self.phase is SessionPhase.TRUSTED:
            return self.trusted_until
        return self.expires_at if self.phase is SessionPhase.UNTRUSTED else NEVER
