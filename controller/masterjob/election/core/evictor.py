"""Watches the sessions of others stand still, and evicts the dead (design 3.2 evict, 3.3)."""

from masterjob.election.core.commands import RETRY_DELAY, Evict, ListSessions
from masterjob.election.core.liveness import LivenessDetector
from masterjob.election.core.session import LONG_AGO, NEVER
from masterjob.election.core.state import ElectorState
from masterjob.election.timing import format_duration
from masterjob.election.values import SessionList, Term, TransitionKind


class Evictor:
    """Looks at all sessions once a heartbeat interval, as long as there is a lock to wait for."""

    def __init__(self, state: ElectorState) -> None:
        self._state = state
        self._detector = LivenessDetector()
        self._scan_at = LONG_AGO
        self._scan_first = False
        """Whether the last attempt was in vain, so that only a new look can justify another."""

    def advance(self) -> None:
        """Look, and evict whoever is dead: one at a time, each by the rule of the watch."""
        state = self._state
        if not state.candidates or state.is_in_flight(ListSessions, Evict):
            return
        suspect = min(
            self._detector.suspects(state.now), key=lambda each: each.watched.failed_evictions, default=None
        )
        if suspect is not None and not self._scan_first:
            state.send(Evict(state.now, suspect.watched, suspect.if_stale))
        elif state.now >= self._scan_at:
            state.send(ListSessions(state.now))
            self._scan_at = state.now + min(timing.heartbeat_interval for timing in state.demand)

    def next_tick_at(self) -> float:
        """When to look or evict next."""
        if not self._state.candidates or self._state.is_in_flight(ListSessions, Evict):
            return NEVER
        return self._scan_at if self._scan_first else min(self._scan_at, self._detector.next_suspect_at())

    def on_sessions_listed(self, command: ListSessions, session_list: SessionList) -> None:
        """Take the census in."""
        own_ids = frozenset(session.id for session in self._state.sessions.values())
        self._scan_first = False
        self._detector.observe(session_list, command.sent, self._state.now, own_ids)

    def on_evict_missed(self) -> None:
        """It moved, somebody was faster, or the database does not agree: only a new look can tell."""
        self._scan_first, self._scan_at = True, self._state.now

    def on_evicted(self, command: Evict, terms: tuple[Term, ...]) -> None:
        """Tell what ended by our doing."""
        self._detector.forget(command.session_id)
        silence = format_duration(command.watched.silent_for(self._state.now))
        victim = command.watched.row.instance
        for term in terms:
            self._state.record(TransitionKind.EVICTED, term, f"{victim} was silent for {silence} and was evicted")

    def on_evict_failed(self, command: Evict) -> None:
        """Unknown. One lock of it may be held up, and with it the whole eviction: others are dealt with first.

        It is tried again after as long as this attempt took, so that our claims are not held up all the time.
        """
        self._detector.postpone(command.watched, self._state.now + (self._state.now - command.sent))
        self.on_list_failed()

    def on_list_failed(self) -> None:
        """Unknown: look again before anything else, in a while."""
        self._scan_first, self._scan_at = True, self._state.now + RETRY_DELAY
