"""The elector: routes what happened to the part that it concerns, after the clock has spoken.

The clock comes first at every event, so that a process that was paused past the end of its trust stops
before it takes in whatever good news waited for it: a term is never revived (design 3.4).
"""

from collections.abc import Callable
from random import Random

from masterjob.election.core.actions import Abandon, Action
from masterjob.election.core.candidate import CandidateRole
from masterjob.election.core.commands import (
    Claim,
    EnsureLocks,
    Evict,
    ListSessions,
    ListVacancies,
    Move,
    OpenSession,
    ReadHeldTerms,
    ReadInventory,
    Release,
    Renew,
    StoreCommand,
)
from masterjob.election.core.events import (
    CoreEvent,
    Declare,
    Failure,
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
from masterjob.election.core.retiming import Retimer
from masterjob.election.core.session import NEVER
from masterjob.election.core.state import ElectorState, Lock, Serving, Waiting
from masterjob.election.values import Identity, Inventory, SessionList, Term, Vacancies


class Elector:
    """One instance's part in the election of any number of locks.

    Pure: `handle` is the only way in, its result the only way out. Times are seconds of one local clock that
    never goes back; ``rng`` gives the jitter and ``new_id`` session ids that were never used before.

    Source: design section 3.
    """

    def __init__(self, identity: Identity, rng: Random, new_id: Callable[[], str]) -> None:
        self._state = ElectorState(identity, rng)
        self._master_role = MasterRole(self._state)
        self._retimer = Retimer(self._state, self._master_role)
        self._heartbeat = Heartbeat(self._state, self._master_role, new_id)
        self._evictor = Evictor(self._state)
        self._candidate_role = CandidateRole(self._state, self._master_role)
        self._shutting_down = False
        # The heartbeat last: a claim that lacks trust asks for one at once.
        self._components = (self._master_role, self._retimer, self._evictor, self._candidate_role, self._heartbeat)

    def handle(self, event: CoreEvent, now: float) -> list[Action]:
        """Take in one event at the local time ``now``; return what to do, in this order."""
        self._state.now = max(self._state.now, now)
        self._time_out_commands()
        self._heartbeat.advance()
        self._dispatch(event)
        for component in self._components:
            component.advance()
        actions, self._state.actions = self._state.actions, []
        return actions

    def next_tick_at(self) -> float:
        """When to call `handle` with a `Tick` at the latest, on the local clock."""
        return min(self._state.next_deadline(), *(component.next_tick_at() for component in self._components))

    # --- what others may ask, from any thread ---

    def trusted_until(self, term: Term) -> float:
        """How long the term may be believed in, on the local clock; in the past where it is over."""
        return self._master_role.trusted_until(term)

    def current_term(self, lock_name: str) -> Term | None:
        """The term that this instance serves, if it does."""
        lock = self._state.locks.get(lock_name)
        return lock.phase.term if lock is not None and isinstance(lock.phase, Serving) else None

    def explain(self, lock_name: str) -> str | None:
        """What this instance is doing about the lock, in words; None if it takes no part."""
        lock = self._state.locks.get(lock_name)
        return lock.explanation if lock is not None else None

    def is_waiting(self, lock_name: str) -> bool:
        """Whether this instance is a candidate for the lock, and free to compete."""
        lock = self._state.locks.get(lock_name)
        return lock is not None and isinstance(lock.phase, Waiting) and lock.phase.ready_at <= self._state.now

    def exit_deadline(self) -> float:
        """When a lease ends on which a job stands that must not outlive it (``lostPolicy: exit``)."""
        return min(
            (session.expires_at for session in self._state.all_sessions() if session.exit_locks),
            default=NEVER,
        )

    def next_expiry(self) -> float:
        """When the clock alone ends something: the guard's alarm."""
        return min(
            (session.next_expiry() for session in self._state.all_sessions() if session.locks), default=NEVER
        )

    @property
    def is_idle(self) -> bool:
        """Whether this instance takes no part in anything and keeps no session."""
        return not (self._state.locks or self._state.sessions or self._state.retired)

    # --- routing ---

    def _dispatch(self, event: CoreEvent) -> None:  # noqa: C901, PLR0912 - a table, written as a match
        match event:
            case Reply():
                if self._state.complete(event.command):
                    self._on_reply(event)
            case Failure():
                if self._state.complete(event.command):
                    self._on_failure(event.command, event.error)
            case LocksChanged():
                self._master_role.on_change(event.lock_names)
                self._candidate_role.on_change(event.lock_names)
            case Declare():
                if not self._shutting_down:  # what is still wanted is wanted of somebody else
                    self._declare(event)
            case Withdraw():
                self._withdraw(event.lock_name, event.reason)
            case Shutdown():
                self._shutting_down = True
                for name in sorted(self._state.locks):
                    self._withdraw(name, event.reason)
            case StepDown():
                if lock := self._state.locks.get(event.lock_name):
                    self._master_role.end_term(lock, event.reason, lock.timing.heartbeat_interval)
            case JobStarted():
                self._master_role.on_started(event.term)
            case JobStartFailed():
                self._master_role.on_start_failed(event)
            case JobStopped():
                self._master_role.on_stopped(event.term)

    def _on_reply(self, reply: Reply) -> None:  # noqa: C901 - a table, written as a match
        match reply:
            case Reply(OpenSession() as command):
                self._heartbeat.on_opened(command)
                self._candidate_role.on_session_renewed()
            case Reply(Renew() as command, Inventory() | None as inventory):
                self._heartbeat.on_renewed(command, inventory)
                self._candidate_role.on_session_renewed()
            case Reply(ListSessions() as command, SessionList() as session_list):
                self._evictor.on_sessions_listed(command, session_list)
            case Reply(Evict() as command, tuple() as terms):
                self._evictor.on_evicted(command, terms)
                self._candidate_role.schedule_scan()
            case Reply(Evict()):
                self._evictor.on_evict_missed()
                self._candidate_role.schedule_scan()  # somebody else has perhaps freed its locks
            case Reply(EnsureLocks() as command):
                self._candidate_role.on_locks_ensured(command)
            case Reply(ListVacancies() as command, Vacancies() as vacancies):
                self._candidate_role.on_vacancies_listed(command, vacancies)
            case Reply(Claim() as command, tuple() as terms):
                self._candidate_role.on_claimed(command, terms)
            case Reply(ReadInventory() as command, Inventory() as inventory):
                self._master_role.on_inventory(command, inventory)
            case Reply(ReadHeldTerms() as command, tuple() as held_terms):
                self._master_role.reconcile(command, held_terms)
            case Reply(Release() as command):
                self._master_role.on_released(command)
            case Reply(Move() as command, str() | None as holder):
                self._retimer.on_moved(command, holder)

    def _on_failure(self, command: StoreCommand, error: str) -> None:  # noqa: C901 - a table, written as a match
        match command:
            case OpenSession() | Renew():
                self._heartbeat.on_failed(command, error)
            case ListSessions():
                self._evictor.on_list_failed()
            case Evict():
                self._evictor.on_evict_failed(command)
            case ListVacancies():
                self._candidate_role.on_list_failed()
            case Claim():
                self._candidate_role.on_claim_failed(command)
            case EnsureLocks():
                self._candidate_role.on_ensure_failed(command, error)
            case ReadInventory():
                self._master_role.finish_inventory()
            case Release():
                self._master_role.on_release_failed(command)
            case Move():
                self._retimer.on_move_failed(command)

    def _time_out_commands(self) -> None:
        for command in self._state.timed_out():
            self._state.complete(command)
            self._state.emit(Abandon(command))
            self._on_failure(command, "no answer in time")

    def _declare(self, event: Declare) -> None:
        state, lock = self._state, self._state.locks.get(event.lock_name)
        if lock is None:
            phase = Waiting(state.now + event.init_delay)
            lock = Lock(event.lock_name, event.timing, event.lost_policy, phase)
            state.locks[lock.name] = lock
            state.add_demand(event.timing, +1)
            state.set_phase(lock, phase)
            self._candidate_role.on_declared(lock)
            return
        lock.wanted = True
        lock.lost_policy = event.lost_policy
        state.set_phase(lock, lock.phase)
        if lock.timing != event.timing:
            state.add_demand(event.timing, +1)
            state.add_demand(lock.timing, -1)
            lock.timing = event.timing
            state.locks_to_retime.add(lock.name)

    def _withdraw(self, name: str, reason: str) -> None:
        lock = self._state.locks.get(name)
        if lock is None:
            return
        lock.wanted = False
        if isinstance(lock.phase, Waiting):
            self._state.set_phase(lock, lock.phase)
        else:
            self._master_role.end_term(lock, reason)
