"""The elector: passes each event to the part that it concerns, after the clock has been considered.

The clock comes first. A process that was paused past the end of its trust therefore stops its jobs before it sees
the replies that arrived meanwhile: a term is never revived.
"""

from collections.abc import Callable
from random import Random

from masterjob.election.core.actions import Action
from masterjob.election.core.candidate import CandidateRole
from masterjob.election.core.events import (
    CoreEvent,
    Declare,
    Failure,
    JobRunChanged,
    JobStarted,
    JobStartFailed,
    JobStopped,
    LocksChanged,
    Reply,
    Shutdown,
    StepDown,
    Withdraw,
)
from masterjob.election.core.evictor import Evictor
from masterjob.election.core.heartbeat import Heartbeat
from masterjob.election.core.master import MasterRole
from masterjob.election.core.quarantine import Quarantine
from masterjob.election.core.retiming import Retimer
from masterjob.election.core.session import LONG_AGO, NEVER
from masterjob.election.core.state import ElectorState, Lock, Serving, Waiting
from masterjob.election.values import Identity, Term


class Elector:
    """One instance's part in the election of any number of locks.

    Pure: `handle` takes events in and returns actions. Times are seconds of one local clock that never goes back;
    ``rng`` provides the jitter, and ``new_id`` session ids that are never repeated.
    """

    def __init__(self, identity: Identity, rng: Random, new_id: Callable[[], str]) -> None:
        self._state = ElectorState(identity, rng)
        self._master_role = MasterRole(self._state)
        self._candidate_role = CandidateRole(self._state, self._master_role)
        retimer = Retimer(self._state, self._master_role)
        quarantine = Quarantine(self._state, self._candidate_role)
        evictor = Evictor(self._state, self._candidate_role, quarantine)
        self._heartbeat = Heartbeat(self._state, self._master_role, self._candidate_role, quarantine, new_id)
        # The heartbeat comes last: a claim that lacks trust needs one at once.
        self._components = (
            self._master_role,
            retimer,
            quarantine,
            evictor,
            self._candidate_role,
            self._heartbeat,
        )
        self._shutting_down = False

    def handle(self, event: CoreEvent, now: float) -> list[Action]:
        """Handle an event at the local time ``now``; return the actions to execute, in this order."""
        self._state.advance_clock(now)
        self._state.time_out_commands()
        self._heartbeat.advance()
        self._dispatch(event)
        for component in self._components:
            component.advance()
        actions, self._state.actions = self._state.actions, []
        return actions

    def next_tick_at(self) -> float:
        """Return when to call `handle` with a `Tick` if nothing else happens before, on the local clock."""
        return min(self._state.next_deadline(), *(component.next_tick_at() for component in self._components))

    # --- queries, from any thread ---

    def trusted_until(self, term: Term) -> float:
        """Return until when the term can be trusted, on the local clock; a time in the past if it is over."""
        lock = self._state.held_lock(term)
        if lock is None or not isinstance(lock.phase, Serving):
            return LONG_AGO
        return min(session.trusted_until if session.is_trusted else LONG_AGO for session in lock.phase.sessions)

    def current_term(self, lock_name: str) -> Term | None:
        """Return the term that this instance serves, if any."""
        lock = self._state.locks.get(lock_name)
        return lock.phase.term if lock is not None and isinstance(lock.phase, Serving) else None

    def explain(self, lock_name: str) -> str | None:
        """Return what this instance does about the lock, in words; None if it does not take part."""
        lock, quarantine = self._state.locks.get(lock_name), self._state.database.quarantine
        if lock is not None and isinstance(lock.phase, Waiting) and quarantine is not None:
            return quarantine.reason
        return lock.explanation if lock is not None else None

    def is_waiting(self, lock_name: str) -> bool:
        """Return whether this instance is a candidate for the lock and may compete now."""
        lock = self._state.locks.get(lock_name)
        return lock is not None and isinstance(lock.phase, Waiting) and lock.phase.ready_at <= self._state.now

    def exit_deadline(self) -> float:
        """Return the earliest end of a lease that a job must not outlive (``lostPolicy: exit``)."""
        sessions = self._state.all_sessions()
        return min((session.expires_at for session in sessions if session.exit_locks), default=NEVER)

    def next_expiry(self) -> float:
        """Return when the trust or the lease of a term ends next, unless it is renewed."""
        sessions = self._state.all_sessions()
        return min((session.next_expiry() for session in sessions if session.locks), default=NEVER)

    @property
    def is_idle(self) -> bool:
        """Whether this instance takes part in no lock and keeps no session."""
        return not (self._state.locks or self._state.sessions or self._state.retired)

    # --- events ---

    def _dispatch(self, event: CoreEvent) -> None:
        match event:
            case Reply() | Failure():
                self._state.complete(event)
            case JobStarted() | JobStartFailed() | JobStopped() | JobRunChanged():
                self._master_role.on_job_event(event)
            case LocksChanged(lock_names):
                self._master_role.on_change(lock_names)
                self._candidate_role.on_change(lock_names)
            case Declare():
                self._declare(event)
            case Withdraw(name, reason):
                self._withdraw([name], reason)
            case Shutdown(reason):
                self._shutting_down = True
                self._withdraw(sorted(self._state.locks), reason)
            case StepDown(name, reason):
                self._step_down(name, reason)

    def _declare(self, event: Declare) -> None:
        state, lock = self._state, self._state.locks.get(event.lock_name)
        if self._shutting_down:
            return
        if lock is None:
            phase = Waiting(state.now + event.init_delay)
            lock = Lock(event.lock_name, event.timing, event.lost_policy, phase)
            state.locks[lock.name] = lock
            state.add_demand(event.timing, +1)
            state.set_phase(lock, phase)
            state.missing_rows.append(lock.name)
            return
        lock.wanted = True
        lock.lost_policy = event.lost_policy
        state.set_phase(lock, lock.phase)
        if lock.timing != event.timing:
            state.add_demand(event.timing, +1)
            state.add_demand(lock.timing, -1)
            lock.timing = event.timing
            state.locks_to_retime.add(lock.name)

    def _withdraw(self, names: list[str], reason: str) -> None:
        for lock in [self._state.locks[name] for name in names if name in self._state.locks]:
            lock.wanted = False
            if isinstance(lock.phase, Waiting):
                self._state.set_phase(lock, lock.phase)
            else:
                self._master_role.end_term(lock, reason)

    def _step_down(self, name: str, reason: str) -> None:
        if lock := self._state.locks.get(name):
            self._master_role.end_term(lock, reason, lock.timing.heartbeat_interval)
