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

MIN_RETRY_DELAY = 0.02
"""The shortest delay between two attempts while there is trust, in seconds."""

ATTEMPT_TIME = 0.5
"""Seconds that every attempt gets, if there is so much trust left: it may have to open a connection."""


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
        self.connection = HeartbeatConnection(session_id, timing.heartbeat_interval)
        self.phase = SessionPhase.NEW
        self.trusted_until = LONG_AGO
        self.expires_at = LONG_AGO
        self.renew_at = now
        self.heartbeat_in_flight = False
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
        self.renew_at = sent + self.timing.heartbeat_interval

    def record_unconfirmed(self, sent: float) -> None:
        """Schedule the next renewal after one that does not extend the trust."""
        self.renew_at = sent + self.timing.heartbeat_interval

    def attempt_timeout(self, now: float) -> float:
        """Return how long an attempt that is sent now may take.

        That is until the next one is due, but long enough to succeed as far as the trust allows.
        """
        heartbeat_interval, trust_left = self.timing.heartbeat_interval, self.trust_left(now)
        if trust_left <= 0:
            return heartbeat_interval
        return max(self._retry_delay(now), min(ATTEMPT_TIME, heartbeat_interval / 4, trust_left))

    def record_failure(self, sent: float, now: float, jitter: float) -> None:
        """Schedule the next attempt after a failed one, however it failed.

        While there is trust, it comes after the retry delay, counted from when the failed one was sent. Without
        trust it comes soon, spread by ``jitter`` (0 to 1), so that not all instances hit a recovered database at
        once.
        """
        if self.phase is SessionPhase.TRUSTED:
            self.renew_at = max(now, sent + max(MIN_RETRY_DELAY, self._retry_delay(sent)))
        else:
            delay = min(self.timing.heartbeat_interval, MAX_RECONNECT_DELAY)
            self.renew_at = now + delay * (0.5 + jitter / 2)

    def _retry_delay(self, sent: float) -> float:
        """Return the seconds from an attempt to the next one: never more than half of the trust that is left.

        So the retries are evenly spaced at first, and closer and closer before the trust ends.
        """
        return min(self.timing.retry_interval, self.trust_left(sent) / 2)

    def next_expiry(self) -> float:
        """Return when the session enters its next phase unless it is renewed."""
        if self.phase is SessionPhase.TRUSTED:
            return self.trusted_until
        return self.expires_at if self.phase is SessionPhase.UNTRUSTED else NEVER
