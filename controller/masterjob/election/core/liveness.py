"""When a session is dead: the rule, as arithmetic on what one candidate has observed.

A session is evicted if its ``beat`` did not change for long enough while it was watched. Two rules say how long:

a. Until its lease has passed since its last heartbeat. The heartbeat's age comes from the database's clock, read
   once, when this beat was first observed; from then on the local clock counts. The age is believed only if the
   database's clock and the local clock advanced alike between the two observations around the heartbeat, less the
   most that one can have gained on the other. The statement also tests that the database calls the session stale.
b. For 1.25 leases since this beat was first observed, whatever any clock but the local one says.

A beat whose age is unknown counts as new: at the very first observation, at one after a pause, if the session was
our own until now, and if the database's clock stepped. A clock that jumps therefore evicts no session.

A beat that is new since the last observation is not older than the time since then. If its age says otherwise, the
heartbeat was written with another clock than the one that it is compared with: each node of a cluster has its own.
From then on no age of this session counts. After a failover of the database everything is observed anew.

An observation counts from its reply and an eviction from its sending, so both delays favour the session.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from masterjob.election.core.session import NEVER
from masterjob.election.timing import CLOCK_DRIFT, format_duration
from masterjob.election.values import Incarnation, SessionList, SessionRow

STANDSTILL_LEASES = 1.25
"""Leases without a change after which only the local clock counts."""

ROUNDING_ERROR = 0.002
"""Seconds added because the database stores whole milliseconds."""


@dataclass(slots=True)
class WatchedSession:
    """A session whose beat has not changed since ``first_seen``."""

    row: SessionRow
    first_seen: float
    suspect_at: float
    """When rule a allows an eviction."""
    dead_at: float
    """When rule b allows one."""
    failed_evictions: int = 0
    """Attempts to evict it that failed."""

    def silent_for(self, now: float) -> float:
        """Return the seconds since its last heartbeat, as well as they can be known."""
        return now - self.first_seen + max(0, self.row.age_ms) / 1000


@dataclass(frozen=True, slots=True)
class Suspect:
    """A session that may be evicted now; ``if_stale``: only if the database calls it stale too."""

    watched: WatchedSession
    if_stale: bool


@dataclass(frozen=True, slots=True)
class _Observation:
    sent: float
    received: float
    clock: float

    def max_clock_gain_since(self, earlier: "_Observation") -> float | None:
        """Return the most seconds that the database's clock can have gained on ours; None if it stepped."""
        passed = self.clock - earlier.clock
        at_least, at_most = self.sent - earlier.received, self.received - earlier.sent
        slack = ROUNDING_ERROR + CLOCK_DRIFT * at_most
        if not at_least - slack <= passed <= at_most + slack:
            return None
        return max(0.0, passed - at_least)


class LivenessDetector:
    """What this candidate has observed of the sessions of other instances."""

    def __init__(self) -> None:
        self._last_observation: _Observation | None = None
        self._watched: dict[str, WatchedSession] = {}
        self._own_ids: frozenset[str] = frozenset()
        """Our own sessions at the last observation, which were not watched then."""
        self._wrong_ages: Counter[str] = Counter()
        """How often the age of a session's heartbeat could not be right."""
        self.incarnation: Incarnation | None = None
        """The database's, at the last observation."""
        self.contradiction = ""
        """What shows that there are two clocks, as a sentence; empty if nothing does."""

    def observe(self, session_list: SessionList, sent: float, received: float, own_ids: frozenset[str]) -> None:
        """Update from a list that was sent and received at these local times."""
        observation = _Observation(sent, received, session_list.clock_ms / 1000)
        if not session_list.incarnation.is_same(self.incarnation):
            self._last_observation, self._watched = None, {}
        self.incarnation = session_list.incarnation
        listed = {row.id for row in session_list.sessions}
        self._wrong_ages = Counter({id_: count for id_, count in self._wrong_ages.items() if id_ in listed})
        self._watched = {
            row.id: self._keep_if_unchanged(row, received) or self._start_watching(row, observation)
            for row in session_list.sessions
            if row.id not in own_ids
        }
        self._last_observation, self._own_ids = observation, own_ids

    def _keep_if_unchanged(self, row: SessionRow, received: float) -> WatchedSession | None:
        watched = self._watched.get(row.id)
        if watched is None or watched.row.beat != row.beat:
            return None
        remaining = (row.lease_ms - row.age_ms) / 1000
        if remaining > 0:  # the database does not call it stale yet, so an attempt would fail
            watched.suspect_at = max(watched.suspect_at, received + remaining + ROUNDING_ERROR)
        return watched

    def _start_watching(self, row: SessionRow, observation: _Observation) -> WatchedSession:
        lease = row.lease_ms / 1000
        wait = max(0.0, lease - self._guaranteed_age(row, observation)) + ROUNDING_ERROR
        return WatchedSession(
            row,
            observation.received,
            observation.received + wait,
            observation.received + STANDSTILL_LEASES * lease,
        )

    def _guaranteed_age(self, row: SessionRow, observation: _Observation) -> float:
        if (
            self._last_observation is None
            or row.id in self._own_ids  # given up since: its heartbeat may be older than the last observation
            or observation.received - self._last_observation.sent > row.lease_ms / 1000
        ):
            return 0.0
        gain = observation.max_clock_gain_since(self._last_observation)
        if gain is None or self._is_contradicted(row, observation.clock - self._last_observation.clock):
            return 0.0
        return max(0.0, row.age_ms / 1000 - gain)

    def _is_contradicted(self, row: SessionRow, since_last: float) -> bool:
        """Return whether ages of this session are wrong; ``since_last``: seconds since the last observation.

        A heartbeat that has waited for a lock is older than its row, too. So one such age proves nothing yet.
        """
        age = row.age_ms / 1000
        if age > since_last + ROUNDING_ERROR:
            self._wrong_ages[row.id] += 1
            if self._wrong_ages[row.id] > 1:
                self.contradiction = (
                    f"two clocks are at work: a heartbeat of {row.instance} that came within the last "
                    f"{format_duration(since_last)} is {format_duration(age)} old by the database's clock; "
                    "the ages of its heartbeats do not count"
                )
        return row.id in self._wrong_ages

    def suspects(self, now: float) -> Iterator[Suspect]:
        """Yield the sessions that may be evicted now."""
        for watched in self._watched.values():
            if now >= watched.dead_at:
                yield Suspect(watched, if_stale=False)
            elif now >= watched.suspect_at:
                yield Suspect(watched, if_stale=True)

    def next_suspect_at(self) -> float:
        """Return when the next session may be evicted."""
        return min((min(w.suspect_at, w.dead_at) for w in self._watched.values()), default=NEVER)

    def postpone(self, watched: WatchedSession, until: float) -> None:
        """Do not suspect the session before ``until``, since an attempt to evict it failed."""
        watched.failed_evictions += 1
        watched.suspect_at = max(watched.suspect_at, until)
        watched.dead_at = max(watched.dead_at, until)

    def forget(self, session_id: str) -> None:
        """Stop watching a session that is gone."""
        self._watched.pop(session_id, None)
