"""Keeps one session alive for each timing in use: opens, renews, retries, and notices the end of the trust."""

from collections.abc import Callable

from masterjob.election.core.candidate import CandidateRole
from masterjob.election.core.commands import CloseSession, OpenSession, Renew
from masterjob.election.core.master import MasterRole
from masterjob.election.core.quarantine import Quarantine
from masterjob.election.core.run_history import record_end_of_trust
from masterjob.election.core.session import NEVER, Session, SessionPhase
from masterjob.election.core.state import ElectorState
from masterjob.election.timing import format_duration
from masterjob.election.values import Inventory, NewSession


class Heartbeat:
    """The heartbeats of this instance's sessions."""

    def __init__(
        self,
        state: ElectorState,
        master_role: MasterRole,
        candidate_role: CandidateRole,
        quarantine: Quarantine,
        new_id: Callable[[], str],
    ) -> None:
        self._state = state
        self._master_role = master_role
        self._candidate_role = candidate_role
        self._quarantine = quarantine
        self._new_id = new_id

    def advance(self) -> None:
        """End trust that is over; then open, close and renew sessions."""
        state = self._state
        for session in state.all_sessions():
            self._expire(session)
        for timing in state.demand:
            if timing not in state.sessions:
                state.sessions[timing] = Session(self._new_id(), timing, state.now)
        for session in list(state.sessions.values()):
            if not state.demand[session.timing] and not session.locks:
                self._close_session(session)
            elif state.now >= session.renew_at and not session.heartbeat_in_flight:
                self._send_heartbeat(session)
        state.retired = [session for session in state.retired if session.locks]

    def next_tick_at(self) -> float:
        """Return when a heartbeat is due or a session enters its next phase."""
        state = self._state
        times = [session.renew_at for session in state.sessions.values() if not session.heartbeat_in_flight]
        times += [session.next_expiry() for session in state.all_sessions()]
        return min(times, default=NEVER)

    # --- renewing ---

    def _send_heartbeat(self, session: Session) -> None:
        state, sent = self._state, self._state.now
        session.heartbeat_in_flight = True
        if session.phase is SessionPhase.NEW:
            row = NewSession(session.id, state.identity, session.timing.lease_ms)
            state.send(
                OpenSession(sent, session.connection, row),
                then=lambda _: self._on_opened(session, sent),
                otherwise=lambda _: self._on_failed(session, sent),
                timeout=session.attempt_timeout(sent),
            )
        else:
            renew = Renew(sent, session.connection, session.id, state.identity.instance, state.inventory())
            state.send(
                renew,
                then=lambda inventory: self._on_renewed(session, renew, inventory),
                otherwise=lambda _: self._on_failed(session, sent),
                timeout=session.attempt_timeout(sent),
            )

    def _on_opened(self, session: Session, sent: float) -> None:
        session.heartbeat_in_flight = False
        session.record_renewal(sent, self._state.now)
        self._candidate_role.on_session_renewed()

    def _on_renewed(self, session: Session, renew: Renew, inventory: Inventory | None) -> None:
        session.heartbeat_in_flight = False
        if session.is_retired or inventory is None:
            if not session.is_retired:
                self._on_evicted(session)
            self._candidate_role.on_session_renewed()
            return
        self._quarantine.observe(inventory.incarnation)
        if self._master_role.is_confirmed_by(renew.expected, inventory):
            session.record_renewal(renew.sent, self._state.now)
            self._candidate_role.on_session_renewed()
        else:
            session.record_unconfirmed(renew.sent)
        self._master_role.check_inventory(renew.expected, inventory)

    def _on_failed(self, session: Session, sent: float) -> None:
        session.heartbeat_in_flight = False
        session.record_failure(sent, self._state.now, self._state.rng.random())
        if session.phase is SessionPhase.NEW:
            session.id = self._new_id()  # the insert may still be executed, and no id is ever used twice

    # --- ending ---

    def _expire(self, session: Session) -> None:
        if session.phase is SessionPhase.TRUSTED and self._state.now >= session.trusted_until:
            session.phase = SessionPhase.UNTRUSTED
            silence = format_duration(session.timing.trust_duration)
            record_end_of_trust(self._state, session, f"no heartbeat was confirmed for {silence}")
            self._master_role.end_terms_on(session, f"no heartbeat was confirmed for {silence}")
        if session.phase is SessionPhase.UNTRUSTED and self._state.now >= session.expires_at:
            session.phase = SessionPhase.EXPIRED
            self._master_role.report_overruns(session)

    def _on_evicted(self, session: Session) -> None:
        if session.phase is SessionPhase.TRUSTED:
            session.phase = SessionPhase.UNTRUSTED
        # Another instance may be master already, so the jobs get their stop timeout, not the rest of the lease.
        session.expires_at = min(session.expires_at, self._state.now + session.timing.stop_timeout)
        self._close_session(session)
        self._master_role.end_terms_on(session, "its session was evicted")

    def _close_session(self, session: Session) -> None:
        state = self._state
        session.is_retired = True
        if state.sessions.get(session.timing) is session:
            del state.sessions[session.timing]
        if session.locks:
            state.retired.append(session)
        # The outcome does not matter: another instance evicts a session whose row is left behind.
        close = CloseSession(state.now, session.connection, session.id)
        state.send(close, then=lambda _: None, otherwise=lambda _: None)
