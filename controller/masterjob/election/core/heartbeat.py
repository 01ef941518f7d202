"""Keeps one session alive for each timing in use: opens, renews, retries, and notices the end of trust.

Design 3.2 (renew), 3.4.
"""

from collections.abc import Callable

from masterjob.election.core.commands import CloseSession, HeartbeatConnection, OpenSession, Renew
from masterjob.election.core.master import MasterRole
from masterjob.election.core.session import NEVER, Session, SessionPhase
from masterjob.election.core.state import ElectorState
from masterjob.election.timing import Timing, format_duration
from masterjob.election.values import Inventory, NewSession


class Heartbeat:
    """The leases of this instance."""

    def __init__(self, state: ElectorState, master_role: MasterRole, new_id: Callable[[], str]) -> None:
        self._state = state
        self._master_role = master_role
        self._new_id = new_id
        self._in_flight: dict[OpenSession | Renew, Session] = {}
        self._connections: dict[Session, HeartbeatConnection] = {}

    def advance(self) -> None:
        """Let the clock speak: end trust that is over, then beat where it is time."""
        for session in self._state.all_sessions():
            self._expire(session)
        for timing in self._state.demand:
            if timing not in self._state.sessions:
                self._create_session(timing)
        for session in list(self._state.sessions.values()):
            if not self._state.demand[session.timing] and not session.locks:
                self._close_session(session)
            elif self._state.now >= session.renew_at and session not in self._in_flight.values():
                self._send_heartbeat(session)
        self._state.retired = {lease for lease in self._state.retired if lease.locks}

    def next_tick_at(self) -> float:
        """When the clock has something to say again."""
        beats = [
            session.renew_at
            for session in self._state.sessions.values()
            if session not in self._in_flight.values()
        ]
        expiries = [lease.next_expiry() for lease in self._state.all_sessions()]
        return min([*beats, *expiries], default=NEVER)

    def _create_session(self, timing: Timing) -> None:
        session = Session(self._new_id(), timing, self._state.now)
        self._connections[session] = HeartbeatConnection(
            session.id, min(timing.heartbeat_interval, timing.trust_duration / 2)
        )
        self._state.sessions[timing] = session

    def _send_heartbeat(self, session: Session) -> None:
        state, connection = self._state, self._connections[session]
        command: OpenSession | Renew
        if session.phase is SessionPhase.NEW:
            new_session = NewSession(session.id, state.identity, session.timing.lease_ms)
            command = OpenSession(state.now, connection, new_session)
        else:
            command = Renew(state.now, connection, session.id, state.identity.instance, state.inventory())
        self._in_flight[command] = session
        state.send(command, session.attempt_timeout(state.now))

    def on_opened(self, command: OpenSession) -> None:
        """The session is there: its first heartbeat counts like any other."""
        self._in_flight.pop(command).record_renewal(command.sent, self._state.now)

    def on_renewed(self, command: Renew, inventory: Inventory | None) -> None:
        """Take a confirmed heartbeat, or learn that the session was evicted."""
        session = self._in_flight.pop(command)
        if session.is_retired:
            return
        if inventory is None:
            self._on_evicted(session)
        else:
            session.record_renewal(command.sent, self._state.now)
            self._master_role.check_inventory(command.expected, inventory)

    def on_failed(self, command: OpenSession | Renew, error: str) -> None:
        """Count a heartbeat without an answer; when the retries are used up, stop."""
        session = self._in_flight.pop(command)
        session.record_failure(command.sent, self._state.now, self._state.rng.random())
        if session.phase is SessionPhase.NEW:
            session.id = self._new_id()  # the insert may still happen, and no id is ever used twice
        elif session.phase is SessionPhase.TRUSTED and session.retries_exhausted:
            self._end_trust(session, f"{session.failures} heartbeats in a row failed: {error}")

    def _expire(self, session: Session) -> None:
        if session.phase is SessionPhase.TRUSTED and self._state.now >= session.trusted_until:
            self._end_trust(
                session, f"no heartbeat was confirmed for {format_duration(session.timing.trust_duration)}"
            )
        if session.phase is SessionPhase.UNTRUSTED and self._state.now >= session.expires_at:
            session.phase = SessionPhase.EXPIRED
            self._master_role.report_overruns(session)

    def _end_trust(self, session: Session, reason: str) -> None:
        session.phase = SessionPhase.UNTRUSTED
        self._master_role.end_terms_on(session, reason)

    def _on_evicted(self, session: Session) -> None:
        if session.phase is SessionPhase.TRUSTED:
            session.phase = SessionPhase.UNTRUSTED
        # Others may be master already: a job has its stop timeout, not what our own lease had left.
        session.expires_at = min(session.expires_at, self._state.now + session.timing.stop_timeout)
        self._close_session(session)
        self._master_role.end_terms_on(session, "its session was evicted")

    def _close_session(self, session: Session) -> None:
        self._state.retire(session)
        self._state.send(CloseSession(self._state.now, self._connections.pop(session), session.id))
