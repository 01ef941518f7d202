"""After the database was promoted nothing is claimed until a master whose claim was lost has stopped.

A replica may lack the last commits of the old primary: claims, renewals, sessions. Therefore the store refuses
claims and evictions from the moment of the promotion until an instance ends the quarantine. An instance does so
when it has watched the new incarnation for the longest lease, on its own clock: a step of the database's clock
cannot shorten that. Every renewal and every list of the sessions tells which incarnation the database is.
"""

from dataclasses import dataclass, replace

from masterjob.election.core.actions import Notice
from masterjob.election.core.candidate import CandidateRole
from masterjob.election.core.commands import RETRY_DELAY, StoreCommand
from masterjob.election.core.session import NEVER
from masterjob.election.core.state import ElectorState
from masterjob.election.ports import Store
from masterjob.election.values import Incarnation


@dataclass(frozen=True, eq=False)
class EndQuarantine(StoreCommand[bool]):
    """Allows claims again, some time after the database was promoted."""

    incarnation: Incarnation

    failure_message = "the end of the quarantine could not be written (will be retried)"

    def execute(self, store: Store) -> bool:
        """Return whether claims are allowed."""
        return store.end_quarantine(self.incarnation)


class Quarantine:
    """What this instance knows of the database's incarnation, and the end of its quarantine."""

    def __init__(self, state: ElectorState, candidate_role: CandidateRole) -> None:
        self._state = state
        self._candidate_role = candidate_role
        self._first_seen: dict[tuple[str, int], float] = {}
        """When each incarnation was first seen in its quarantine: a late answer may bring an older one back."""
        self._ends_at = NEVER
        self._ended: Incarnation | None = None
        """The incarnation whose quarantine is known to be over: an answer that says otherwise is older."""

    def observe(self, seen: Incarnation, longest_lease: float = 0.0) -> None:
        """Note which incarnation the database is now. ``longest_lease``: of the sessions, in seconds, if known."""
        state, database = self._state, self._state.database
        if not seen.is_same(database.incarnation):
            database.changed_at = state.now
        if not state.held_terms:
            database.confirmed = seen
            self._ends_at = NEVER
        if not seen.is_quarantined:
            self._on_ended(seen)
        elif not seen.is_same(self._ended):
            database.incarnation = seen
            if seen.key not in self._first_seen:
                self._first_seen[seen.key] = state.now
                state.emit(Notice(seen.reason))
            ends_at = self._first_seen[seen.key] + self._longest_lease(seen, longest_lease)
            self._ends_at = ends_at if self._ends_at == NEVER else max(self._ends_at, ends_at)

    def _longest_lease(self, seen: Incarnation, listed: float) -> float:
        """Return the longest lease that is known; sessions of our own may be among those that were lost."""
        own = [session.timing.lease_duration for session in self._state.all_sessions()]
        return max(seen.lease_ms / 1000, listed, *own)

    def advance(self) -> None:
        """End the quarantine if it has lasted long enough."""
        state, ended = self._state, self._state.database.quarantine
        if ended is None or state.now < self._ends_at or state.is_in_flight(EndQuarantine):
            return
        self._ends_at = state.now + RETRY_DELAY
        state.send(
            EndQuarantine(state.now, ended),
            then=lambda is_ended: self._on_end_written(ended) if is_ended else None,
            otherwise=lambda _: None,
        )

    def next_tick_at(self) -> float:
        """Return when to end the quarantine."""
        return NEVER if self._state.is_in_flight(EndQuarantine) else self._ends_at

    def _on_end_written(self, ended: Incarnation) -> None:
        if ended.is_same(self._state.database.incarnation):
            self._on_ended(ended)

    def _on_ended(self, ended: Incarnation) -> None:
        """Claim again, if this instance has waited for that."""
        has_waited, self._ends_at = self._state.database.quarantine is not None, NEVER
        self._state.database.incarnation = self._ended = replace(ended, is_quarantined=False)
        if has_waited:
            self._candidate_role.schedule_scan()
