"""Moves a lock whose timing has changed to the session of the new timing; its term continues.

Until a move is confirmed the term depends on both sessions: the smaller trust and the smaller stop timeout count.
"""

from masterjob.election.core.actions import SetStopTimeout
from masterjob.election.core.commands import RETRY_DELAY, Move
from masterjob.election.core.master import MasterRole
from masterjob.election.core.session import LONG_AGO, NEVER, Session
from masterjob.election.core.state import ElectorState, Lock, Serving


class Retimer:
    """The moves of this instance's terms."""

    def __init__(self, state: ElectorState, master_role: MasterRole) -> None:
        self._state = state
        self._master_role = master_role
        self._retry_at = LONG_AGO

    def advance(self) -> None:
        """Send the moves that are due."""
        for name in sorted(self._state.locks_to_retime) if self._state.now >= self._retry_at else ():
            lock = self._state.locks.get(name)
            if lock is None or not isinstance(lock.phase, Serving) or _is_on_current_timing(lock, lock.phase):
                self._state.locks_to_retime.discard(name)
            elif lock.phase.move is None and (session := self._target_session(lock, lock.phase)) is not None:
                self._send_move(lock, lock.phase, session)

    def next_tick_at(self) -> float:
        """Return when to retry failed moves."""
        return self._retry_at if self._retry_at > self._state.now else NEVER

    def _target_session(self, lock: Lock, phase: Serving) -> Session | None:
        """Return the session to move to; the target of an unconfirmed move comes before a newer timing."""
        session = phase.sessions[1] if len(phase.sessions) > 1 else self._state.sessions.get(lock.timing)
        if session is not None and session.id in lock.unconfirmed_sources:
            self._master_role.end_term(lock, "its timing was changed back while an earlier change was in doubt")
            return None
        return session if session is not None and session.can_claim(self._state.now) else None

    def _send_move(self, lock: Lock, phase: Serving, session: Session) -> None:
        state, old = self._state, phase.sessions[0]
        move = Move(state.now, phase.term, old.id, session.id)
        state.set_phase(lock, Serving(phase.term, (old, session), phase.since, move))
        lock.changed_at = state.now
        # Before it is sent: a shorter lease must never meet a job that still has the longer stop timeout.
        state.emit(SetStopTimeout(phase.term, min(old.timing.stop_timeout, session.timing.stop_timeout)))
        state.send(
            move,
            then=lambda holder: self._on_answer(lock, move, holder),
            otherwise=lambda _: self._on_move_failed(lock, move),
        )

    def _on_answer(self, lock: Lock, move: Move, holder: str | None) -> None:
        if move.sent < self._state.database.changed_at:  # a promoted replica may lack it
            self._on_move_failed(lock, move)
        else:
            self._on_moved(lock, move, holder)

    def _on_moved(self, lock: Lock, move: Move, holder: str | None) -> None:
        if not isinstance(lock.phase, Serving) or lock.phase.move is not move:
            return
        phase = lock.phase
        lock.changed_at = self._state.now
        session = next((session for session in phase.sessions if session.id == holder), None)
        if session is None:
            self._master_role.end_term(lock, "the database no longer names it master", is_lost=True)
        else:
            self._state.set_phase(lock, Serving(phase.term, (session,), phase.since))
            self._state.emit(SetStopTimeout(phase.term, session.timing.stop_timeout))

    def _on_move_failed(self, lock: Lock, move: Move) -> None:
        """Retry later; that is safe even if this one was executed, since a move names its exact term."""
        self._retry_at = self._state.now + RETRY_DELAY
        if isinstance(lock.phase, Serving) and lock.phase.move is move:
            lock.changed_at = self._state.now
            lock.unconfirmed_sources.add(move.from_session_id)
            self._state.set_phase(lock, Serving(lock.phase.term, lock.phase.sessions, lock.phase.since))


def _is_on_current_timing(lock: Lock, phase: Serving) -> bool:
    return len(phase.sessions) == 1 and phase.sessions[0].timing == lock.timing
