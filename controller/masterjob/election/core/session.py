"""One session of this instance as the instance itself sees it: how far it may be trusted (design 3.4).

Arithmetic only: every time is in seconds of the local clock, given by the caller.
"""

from enum import Enum

from masterjob.election.timing import Timing

NEVER = float("inf")
LONG_AGO = float("-inf")
MAX_RECONNECT_DELAY = 2.0
"""Seconds between attempts, at most, while there is no trust to stretch."""


class SessionPhase(Enum):
    """What a lease allows its terms: each phase is entered once, and left only by a renewal or never."""

    NEW = "not opened yet: nothing may be claimed"
    TRUSTED = "serve"
    UNTRUSTED = "the trust is over: jobs are being stopped, while the lease still keeps others out"
    EXPIRED = "the lease is over: others may be master"


class Session:
    """A session's id, its timing, and the two moments that every heartbeat moves on."""

    def __init__(self, session_id: str, timing: Timing, now: float) -> None:
        self.id = session_id
        self.timing = timing
        self.phase = SessionPhase.NEW
        self.trusted_until = LONG_AGO
        self.expires_at = LONG_AGO
        self.renew_at = now
        self.failures = 0
        self.is_retired = False
        """Evicted, or given up for good: nothing is renewed, claimed or released on it any more."""
        self.locks: set[str] = set()
        """The locks whose term stands on this lease, from the claim's grant to the end of the release."""
        self.exit_locks: set[str] = set()
        """Those of them whose jobs must not outlive the lease by any means (``lostPolicy: exit``)."""

    def trust_left(self, now: float) -> float:
        """Seconds for which its terms may still be believed in."""
        return (
            0.0
            if self.is_retired or self.phase is not SessionPhase.TRUSTED
            else max(0.0, self.trusted_until - now)
        )

    def can_claim(self, now: float) -> bool:
        """Whether enough is left to start something: a heartbeat, besides the stop that the margin holds."""
        return self.trust_left(now) >= self.timing.heartbeat_interval

    def record_renewal(self, sent: float, now: float) -> None:
        """Count the trust from when the renewal was sent, however late its reply came."""
        self.trusted_until = max(self.trusted_until, sent + self.timing.trust_duration)
        self.expires_at = max(self.expires_at, sent + self.timing.lease_duration)
        self.phase = SessionPhase.TRUSTED if now < self.trusted_until else SessionPhase.UNTRUSTED
        self.failures = 0
        self.renew_at = sent + self.timing.heartbeat_interval

    def attempt_timeout(self, now: float) -> float:
        """Return how long the next attempt may take, so that all retries fit in the trust that is left."""
        attempts_left = max(1, self.timing.max_heartbeat_retry_count + 1 - self.failures)
        share = self.trust_left(now) / (attempts_left + 1)
        if share <= 0:
            share = self.timing.trust_duration / 2
        return min(share, self.timing.heartbeat_interval)

    def record_failure(self, sent: float, now: float, jitter: float) -> None:
        """Count a renewal without an answer, and plan the next one.

        While there is trust, that is at the end of this attempt's share of it. Without, there is nothing to
        save but the next mastership: soon, and spread by ``jitter`` (0 to 1), so that a database that comes
        back is not met by everybody at once.
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
        """When the lease enters its next phase by the clock alone."""
        if self.phase is SessionPhase.TRUSTED:
            return self.trusted_until
        return self.expires_at if self.phase is SessionPhase.UNTRUSTED else NEVER
