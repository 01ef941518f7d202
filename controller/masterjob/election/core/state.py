"""What the instance believes: its locks, each in one state, and its leases; and what it orders next."""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from masterjob.election.core.actions import Action, RecordTransition
from masterjob.election.core.commands import COMMAND_TIMEOUT, StoreCommand
from masterjob.election.core.session import LONG_AGO, NEVER, Session
from masterjob.election.timing import Timing
from masterjob.election.values import HistoryEntry, Identity, Inventory, LostPolicy, Term, TransitionKind


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waits for a vacancy, from ``ready_at`` on."""

    ready_at: float


@dataclass(frozen=True, slots=True)
class Claiming:
    """A claim was sent; its outcome is not known yet."""

    command: StoreCommand


@dataclass(frozen=True, slots=True)
class Serving:
    """Master: the job was told to start. While the lock moves between sessions it stands on both leases."""

    term: Term
    sessions: tuple[Session, ...]
    since: float
    move: StoreCommand | None = None


@dataclass(frozen=True, slots=True)
class Stopping:
    """Still master: the job was told to stop and has not yet."""

    term: Term
    sessions: tuple[Session, ...]
    reason: str
    ready_at: float


@dataclass(frozen=True, slots=True)
class Releasing:
    """The job has stopped; the lock is being given back."""

    term: Term
    sessions: tuple[Session, ...]
    reason: str
    ready_at: float


LockPhase = Waiting | Claiming | Serving | Stopping | Releasing
HeldPhase = Serving | Stopping | Releasing


@dataclass(slots=True)
class Lock:
    """A lock that this instance takes part in."""

    name: str
    timing: Timing
    lost_policy: LostPolicy
    phase: LockPhase
    changed_at: float = LONG_AGO
    """When a claim, move or release of it was last sent or finished: what was read before says nothing."""
    failed_starts: int = 0
    wanted: bool = True
    unconfirmed_sources: set[str] = field(default_factory=set)
    """Sessions that a move without an answer would have left: it may still happen, should the lock be there."""
    explanation: str = "not checked yet"


class ElectorState:
    """The beliefs of one instance, the orders that came of the present event, and the answers awaited."""

    def __init__(self, identity: Identity, rng: Random) -> None:
        self.identity = identity
        self.rng = rng
        self.now = 0.0
        self.locks: dict[str, Lock] = {}
        self.candidates: set[str] = set()
        self.held_terms: dict[str, Term] = {}
        self.releasing: dict[str, Releasing] = {}
        self.missing_rows: list[str] = []
        """Locks whose row has to be written, or written again, before anything else is asked."""
        self.locks_to_retime: set[str] = set()
        """Locks whose term may stand on another timing than they have now."""
        self.ready_times: list[float] = []
        """A heap of the times at which some candidate may begin to compete."""
        self.demand: Counter[Timing] = Counter()
        """How many locks want each timing."""
        self.sessions: dict[Timing, Session] = {}
        self.retired: set[Session] = set()
        """Leases that are gone while the jobs of their terms have not stopped yet."""
        self.actions: list[Action] = []
        self._in_flight: dict[StoreCommand, float] = {}

    # --- locks ---

    def set_phase(self, lock: Lock, phase: LockPhase) -> None:
        """Put the lock into its next state, and keep the views of it in step."""
        self._remove_from_views(lock)
        lock.phase = phase
        if isinstance(phase, HeldPhase):
            self.held_terms[lock.name] = phase.term
            for session in phase.sessions:
                session.locks.add(lock.name)
                if lock.lost_policy is LostPolicy.EXIT and not isinstance(phase, Releasing):
                    session.exit_locks.add(lock.name)
        if isinstance(phase, Releasing):
            self.releasing[lock.name] = phase
        elif isinstance(phase, Waiting) and lock.wanted:
            self.candidates.add(lock.name)
            heapq.heappush(self.ready_times, phase.ready_at)
        elif isinstance(phase, Waiting):
            del self.locks[lock.name]
            self.add_demand(lock.timing, -1)

    def _remove_from_views(self, lock: Lock) -> None:
        for session in lock.phase.sessions if isinstance(lock.phase, HeldPhase) else ():
            session.locks.discard(lock.name)
            session.exit_locks.discard(lock.name)
        self.candidates.discard(lock.name)
        self.releasing.pop(lock.name, None)
        self.held_terms.pop(lock.name, None)

    def add_demand(self, timing: Timing, count: int) -> None:
        """Count that so many more (or fewer) locks want this timing."""
        self.demand[timing] += count
        if not self.demand[timing]:
            del self.demand[timing]

    def inventory(self) -> Inventory:
        """Return what the database should say that we hold."""
        return Inventory.of(self.held_terms.values())

    def all_sessions(self) -> list[Session]:
        """Return the leases that the clock still matters to."""
        return [*self.sessions.values(), *self.retired]

    # --- the database ---

    def send(self, command: StoreCommand, timeout: float = COMMAND_TIMEOUT) -> None:
        """Order a command and wait for its answer this many seconds."""
        self.actions.append(command)
        self._in_flight[command] = self.now + timeout

    def is_in_flight(self, *command_types: type[StoreCommand]) -> bool:
        """Tell whether a command of one of these kinds is unanswered."""
        return any(isinstance(command, command_types) for command in self._in_flight)

    def complete(self, command: StoreCommand) -> bool:
        """Stop waiting for this command; False where nobody waited any more."""
        return self._in_flight.pop(command, None) is not None

    def timed_out(self) -> list[StoreCommand]:
        """Return the commands that were not answered in time."""
        return [command for command, deadline in self._in_flight.items() if deadline <= self.now]

    def next_deadline(self) -> float:
        """When the next command counts as unanswered."""
        return min(self._in_flight.values(), default=NEVER)

    # --- the others ---

    def emit(self, action: Action) -> None:
        """Order something that is not awaited."""
        self.actions.append(action)

    def record(self, kind: TransitionKind, term: Term, reason: str) -> None:
        """Tell a transition, once, in the words that the log and the history share."""
        entry = HistoryEntry(term.lock_name, term.number, kind, reason, self.identity.instance)
        self.emit(RecordTransition(entry))

    def retire(self, session: Session) -> None:
        """Take a lease out of use for good; it fades until the jobs on it have stopped."""
        session.is_retired = True
        if self.sessions.get(session.timing) is session:
            del self.sessions[session.timing]
        if session.locks:
            self.retired.add(session)
