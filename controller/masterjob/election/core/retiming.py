"""A lock whose timing has changed goes to the session of the new timing; its term does not end (design 3.2, move).

Until a move is confirmed the term stands on both sessions; its trust and its stop timeout are the smaller of both.
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
        """Send what is due to be moved."""
        for name in sorted(self._state.locks_to_retime) if self._state.now >= self._retry_at else ():
            lock = self._state.locks.get(name)
            if lock is None or not isinstance(lock.phase, Serving) or _is_on_current_timing(lock, lock.phase):
                self._state.locks_to_retime.discard(name)
            elif lock.phase.move is None and (session := self._target_session(lock, lock.phase)) is not None:
                self._send_move(lock, lock.phase, session)

    def next_tick_at(self) -> float:
        """When to try again what got no answer."""
        return self._retry_at if self._retry_at > self._state.now else NEVER

    def _target_session(self, lock: Lock, phase: Serving) -> Session | None:
        """The lease to move to: the one that an unanswered move named, before any newer wish."""
        session = phase.sessions[1] if len(phase.sessions) > 1 else self._state.sessions.get(lock.timing)
        if session is not None and session.id in lock.unconfirmed_sources:
            self._master_role.end_term(lock, "its timing was changed back while an earlier change was in doubt")
            return None
        return session if session is not None and session.can_claim(self._state.now) else None

    def _send_move(self, lock: Lock, phase: Serving, session: Session) -> None:
        state, old = self._state, phase.sessions[0]
        command = Move(state.now, phase.term, old.id, session.id)
        state.set_phase(lock, Serving(phase.term, (old, session), phase.since, command))
        lock.changed_at = state.now
        # Before it is sent: a shorter lease must not find a job that still believes in the longer stop timeout.
        state.emit(SetStopTimeout(phase.term, min(old.timing.stop_timeout, session.timing.stop_timeout)))
        state.send(command)

    def on_moved(self, command: Move, holder: str | None) -> None:
        """Stand on the session that the database names; none means that the term was lost."""
        if (match := self._lock_in_move(command)) is None:
            return
        lock, phase = match
        lock.changed_at = self._state.now
        session = next((lease for lease in phase.sessions if lease.id == holder), None)
        if session is None:
            self._master_role.end_term(lock, "the database no longer names it master")
        else:
            self._state.set_phase(lock, Serving(phase.term, (session,), phase.since))
            self._state.emit(SetStopTimeout(phase.term, session.timing.stop_timeout))

    def on_move_failed(self, command: Move) -> None:
        """It may be asked again: it names the exact term."""
        self._retry_at = self._state.now + RETRY_DELAY
        if match := self._lock_in_move(command):
            lock, phase = match
            lock.changed_at = self._state.now
            lock.unconfirmed_sources.add(command.from_session_id)
            self._state.set_phase(lock, Serving(phase.term, phase.sessions, phase.since))

    def _lock_in_move(self, command: Move) -> tuple[Lock, Serving] | None:
        lock = self._state.locks.get(command.term.lock_name)
        if lock is not None and isinstance(lock.phase, Serving) and lock.phase.move is command:
            return lock, lock.phase
        return None


def _is_on_current_timing(lock: Lock, phase: Serving) -> bool:
    return len(phase.sessions) == 1 and phase.sessions[0].timing == lock.timing
