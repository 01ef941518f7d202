"""When a session is dead (design 3.3): the rule, as arithmetic on what one candidate has seen.

A session is evicted when its ``beat`` was watched standing still long enough. Two rules say how long:

a. until its lease has passed since its last heartbeat. The heartbeat's age comes from the database's clock,
   read once, at the first look that saw this beat; from there on our own clock counts. That age is only
   believed where the database's clock and ours advanced together between the two looks around the
   heartbeat, and then less the most that the one can have gained on the other. The statement itself adds
   the test that the database calls the session stale.
b. for 1.25 leases from the first look that saw this beat, whatever any clock but our own says.

Who cannot tell how old the beat is, takes it for new: at a candidate's very first look, at one after a pause,
and where the database's clock stepped. So a clock that jumps evicts nobody.

A look counts from its reply and an eviction from its sending: both delays are in the session's favour.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from masterjob.election.machine.lease import NEVER
from masterjob.election.timing import DRIFT
from masterjob.election.values import Census, SessionSeen

STANDSTILL = 1.25
"""Leases of standstill after which no clock but our own is asked."""

ROUNDING = 0.002
"""Seconds added because the database keeps whole milliseconds."""


@dataclass(slots=True)
class Watched:
    """A session that has not moved since ``first_seen``."""

    seen: SessionSeen
    first_seen: float
    suspect_at: float
    """When rule a allows an eviction."""
    dead_at: float
    """When rule b does."""
    unanswered: int = 0
    """Attempts to evict it whose outcome is unknown."""

    def silent_for(self, now: float) -> float:
        """Seconds since its last heartbeat, as near as can be said."""
        return now - self.first_seen + max(0, self.seen.age_ms) / 1000


@dataclass(frozen=True, slots=True)
class Suspect:
    """A session that may be evicted now, and whether the database's own test must agree."""

    watched: Watched
    if_stale: bool


@dataclass(frozen=True, slots=True)
class _Look:
    sent: float
    received: float
    clock: float

    def gain_since(self, earlier: "_Look") -> float | None:
        """Return the most that the database's clock can have gained on ours, in seconds; None if it stepped."""
        passed, at_least, at_most = (
            self.clock - earlier.clock,
            self.sent - earlier.received,
            self.received - earlier.sent,
        )
        slack = ROUNDING + DRIFT * at_most
        if not at_least - slack <= passed <= at_most + slack:
            return None
        return max(0.0, passed - at_least)


class Watch:
    """What this candidate has seen of the sessions of others."""

    def __init__(self) -> None:
        self._last: _Look | None = None
        self._watched: dict[str, Watched] = {}

    def look(self, census: Census, sent: float, received: float, own: frozenset[str]) -> None:
        """Take in a look at the database that was sent and received at these local times."""
        look = _Look(sent, received, census.clock_ms / 1000)
        self._watched = {
            seen.id: self._still(seen, received) or self._moved(seen, look)
            for seen in census.sessions
            if seen.id not in own
        }
        self._last = look

    def _still(self, seen: SessionSeen, received: float) -> Watched | None:
        before = self._watched.get(seen.id)
        if before is None or before.seen.beat != seen.beat:
            return None
        missing = (seen.lease_ms - seen.age_ms) / 1000
        if missing > 0:  # the database does not call it stale yet, so an attempt would be in vain
            before.suspect_at = max(before.suspect_at, received + missing + ROUNDING)
        return before

    def _moved(self, seen: SessionSeen, look: _Look) -> Watched:
        lease = seen.lease_ms / 1000
        wait = max(0.0, lease - self._sure_age(seen, look)) + ROUNDING
        return Watched(seen, look.received, look.received + wait, look.received + STANDSTILL * lease)

    def _sure_age(self, seen: SessionSeen, look: _Look) -> float:
        if self._last is None or look.received - self._last.sent > seen.lease_ms / 1000:
            return 0.0
        gain = look.gain_since(self._last)
        return 0.0 if gain is None else max(0.0, seen.age_ms / 1000 - gain)

    def suspects(self, now: float) -> Iterator[Suspect]:
        """Yield the sessions that may be evicted now."""
        for watched in self._watched.values():
            if now >= watched.dead_at:
                yield Suspect(watched, if_stale=False)
            elif now >= watched.suspect_at:
                yield Suspect(watched, if_stale=True)

    def next_suspicion(self) -> float:
        """When the next session may be evicted."""
        return min((min(w.suspect_at, w.dead_at) for w in self._watched.values()), default=NEVER)

    def postpone(self, watched: Watched, until: float) -> None:
        """Suspect the session no sooner: an attempt got no answer."""
        watched.unanswered += 1
        watched.suspect_at = max(watched.suspect_at, until)
        watched.dead_at = max(watched.dead_at, until)

    def forget(self, session_id: str) -> None:
        """Stop watching a session that is gone."""
        self._watched.pop(session_id, None)
