"""Watches the sessions of other instances and evicts the dead ones."""

from masterjob.election.core.actions import Notice
from masterjob.election.core.candidate import CandidateRole
from masterjob.election.core.commands import RETRY_DELAY, Evict, ListSessions
from masterjob.election.core.liveness import LivenessDetector, WatchedSession
from masterjob.election.core.quarantine import Quarantine
from masterjob.election.core.session import LONG_AGO, NEVER
from masterjob.election.core.state import ElectorState
from masterjob.election.timing import format_duration
from masterjob.election.values import SessionList, Term, TransitionKind


class Evictor:
    """Lists all sessions once per heartbeat interval while this instance is a candidate."""

    def __init__(self, state: ElectorState, candidate_role: CandidateRole, quarantine: Quarantine) -> None:
        self._state = state
        self._candidate_role = candidate_role
        self._quarantine = quarantine
        self._detector = LivenessDetector()
        self._list_at = LONG_AGO
        self._must_list_first = False
        """Whether the last attempt did not succeed: the sessions must be listed before the next one."""
        self._has_told_of_clocks = False

    def advance(self) -> None:
        """List the sessions if that is due, or evict a dead one; one command at a time."""
        state = self._state
        if not state.candidates or state.is_in_flight(ListSessions, Evict):
            return
        suspects = () if state.database.quarantine else self._detector.suspects(state.now)
        suspect = min(suspects, key=lambda each: each.watched.failed_evictions, default=None)
        if suspect is not None and not self._must_list_first:
            evict = Evict(state.now, suspect.watched, suspect.if_stale, self._detector.incarnation)
            started = state.running_time
            state.send(
                evict,
                then=lambda terms: self._on_evicted(evict, terms),
                otherwise=lambda _: self._on_evict_failed(evict, state.running_time - started),
            )
        elif state.now >= self._list_at:
            sent = state.now
            state.send(
                ListSessions(sent),
                then=lambda session_list: self._on_listed(session_list, sent),
                otherwise=lambda _: self._list_in(RETRY_DELAY),
            )
            self._list_at = sent + min(timing.heartbeat_interval for timing in state.demand)

    def next_tick_at(self) -> float:
        """Return when to list or evict next."""
        if not self._state.candidates or self._state.is_in_flight(ListSessions, Evict):
            return NEVER
        if self._must_list_first or self._state.database.quarantine:
            return self._list_at
        return min(self._list_at, self._detector.next_suspect_at())

    def _on_listed(self, session_list: SessionList, sent: float) -> None:
        own_ids = frozenset(session.id for session in self._state.sessions.values())
        self._must_list_first = False
        longest_lease = max((session.lease_ms for session in session_list.sessions), default=0) / 1000
        self._quarantine.observe(session_list.incarnation, longest_lease)
        self._detector.observe(session_list, sent, self._state.now, own_ids)
        if self._detector.contradiction and not self._has_told_of_clocks:
            self._has_told_of_clocks = True
            self._state.emit(Notice(self._detector.contradiction))

    def _on_evicted(self, evict: Evict, terms: tuple[Term, ...] | None) -> None:
        if terms is None:  # it was alive, already evicted, or not stale by the database's clock
            self._list_in(0.0)
        else:
            self._detector.forget(evict.session_id)
            self._record_eviction(evict.watched, terms)
        self._candidate_role.schedule_scan()  # also if another instance was faster: locks may be free now

    def _record_eviction(self, watched: WatchedSession, terms: tuple[Term, ...]) -> None:
        state, victim = self._state, watched.row.instance
        silence = watched.silent_for(state.now)
        for term in terms:
            state.record(
                TransitionKind.LAST_HEARTBEAT,
                term,
                f"the last heartbeat of {victim}",
                instance=victim,
                happened_at=state.now - silence,
            )
            reason = f"{victim} was silent for {format_duration(silence)} and was evicted"
            state.record(TransitionKind.EVICTED, term, reason)

    def _on_evict_failed(self, evict: Evict, duration: float) -> None:
        """Try other sessions first: a row lock can block this one.

        This one is retried after as long as the attempt ran, so that our claims are not blocked all the time.
        """
        self._detector.postpone(evict.watched, self._state.now + duration)
        self._list_in(RETRY_DELAY)

    def _list_in(self, delay: float) -> None:
        self._must_list_first, self._list_at = True, self._state.now + delay
