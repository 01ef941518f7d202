"""What the instance believes: its locks, each in one state, and its leases; and what it orders next."""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from masterjob.election.machine.actions import Action, Say
from masterjob.election.machine.commands import PATIENCE, Command
from masterjob.election.machine.lease import LONG_AGO, NEVER, Lease
from masterjob.election.timing import Timing
from masterjob.election.values import Entry, Identity, Inventory, Kind, LostPolicy, Term


@dataclass(frozen=True, slots=True)
class Candidate:
    """Waits for a vacancy, from ``ready_at`` on."""

    ready_at: float


@dataclass(frozen=True, slots=True)
class Claiming:
    """A claim was sent; its outcome is not known yet."""

    command: Command


@dataclass(frozen=True, slots=True)
class Serving:
    """Master: the job was told to start. While the lock moves between sessions it stands on both leases."""

    term: Term
    leases: tuple[Lease, ...]
    since: float
    move: Command | None = None


@dataclass(frozen=True, slots=True)
class Stopping:
    """Still master: the job was told to stop and has not yet."""

    term: Term
    leases: tuple[Lease, ...]
    why: str
    ready_at: float


@dataclass(frozen=True, slots=True)
class Releasing:
    """The job has stopped; the lock is being given back."""

    term: Term
    leases: tuple[Lease, ...]
    why: str
    ready_at: float


State = Candidate | Claiming | Serving | Stopping | Releasing
Held = Serving | Stopping | Releasing


@dataclass(slots=True)
class Lock:
    """A lock that this instance takes part in."""

    name: str
    timing: Timing
    lost_policy: LostPolicy
    state: State
    touched: float = LONG_AGO
    """When a claim, move or release of it was last sent or finished: what was read before says nothing."""
    failed_starts: int = 0
    wanted: bool = True
    doubtful: set[str] = field(default_factory=set)
    """Sessions that a move without an answer would have left: it may still happen, should the lock be there."""
    why: str = "not checked yet"


class Book:
    """The beliefs of one instance, the orders that came of the present event, and the answers awaited."""

    def __init__(self, identity: Identity, rng: Random) -> None:
        self.identity = identity
        self.rng = rng
        self.now = 0.0
        self.locks: dict[str, Lock] = {}
        self.candidates: set[str] = set()
        self.held: dict[str, Term] = {}
        self.releasing: dict[str, Releasing] = {}
        self.rowless: list[str] = []
        """Locks whose row has to be written, or written again, before anything else is asked."""
        self.retiming: set[str] = set()
        """Locks whose term may stand on another timing than they have now."""
        self.ready: list[float] = []
        """A heap of the times at which some candidate may begin to compete."""
        self.demand: Counter[Timing] = Counter()
        """How many locks want each timing."""
        self.leases: dict[Timing, Lease] = {}
        self.fading: set[Lease] = set()
        """Leases that are gone while the jobs of their terms have not stopped yet."""
        self.actions: list[Action] = []
        self._awaited: dict[Command, float] = {}

    # --- locks ---

    def become(self, lock: Lock, state: State) -> None:
        """Put the lock into its next state, and keep the views of it in step."""
        self._forget(lock)
        lock.state = state
        if isinstance(state, Held):
            self.held[lock.name] = state.term
            for lease in state.leases:
                lease.holds.add(lock.name)
                if lock.lost_policy is LostPolicy.EXIT and not isinstance(state, Releasing):
                    lease.strict.add(lock.name)
        if isinstance(state, Releasing):
            self.releasing[lock.name] = state
        elif isinstance(state, Candidate) and lock.wanted:
            self.candidates.add(lock.name)
            heapq.heappush(self.ready, state.ready_at)
        elif isinstance(state, Candidate):
            del self.locks[lock.name]
            self.want(lock.timing, -1)

    def _forget(self, lock: Lock) -> None:
        for lease in lock.state.leases if isinstance(lock.state, Held) else ():
            lease.holds.discard(lock.name)
            lease.strict.discard(lock.name)
        self.candidates.discard(lock.name)
        self.releasing.pop(lock.name, None)
        self.held.pop(lock.name, None)

    def want(self, timing: Timing, locks: int) -> None:
        """Count that so many more (or fewer) locks want this timing."""
        self.demand[timing] += locks
        if not self.demand[timing]:
            del self.demand[timing]

    def inventory(self) -> Inventory:
        """Return what the database should say that we hold."""
        return Inventory.of(self.held.values())

    def every_lease(self) -> list[Lease]:
        """Return the leases that the clock still matters to."""
        return [*self.leases.values(), *self.fading]

    # --- the database ---

    def send(self, command: Command, patience: float = PATIENCE) -> None:
        """Order a command and wait for its answer this many seconds."""
        self.actions.append(command)
        self._awaited[command] = self.now + patience

    def awaits(self, *kinds: type[Command]) -> bool:
        """Tell whether a command of one of these kinds is unanswered."""
        return any(isinstance(command, kinds) for command in self._awaited)

    def take(self, command: Command) -> bool:
        """Stop waiting for this command; False where nobody waited any more."""
        return self._awaited.pop(command, None) is not None

    def overdue(self) -> list[Command]:
        """Return the commands that were not answered in time."""
        return [command for command, due in self._awaited.items() if due <= self.now]

    def next_due(self) -> float:
        """When the next command counts as unanswered."""
        return min(self._awaited.values(), default=NEVER)

    # --- the others ---

    def order(self, action: Action) -> None:
        """Order something that is not awaited."""
        self.actions.append(action)

    def say(self, kind: Kind, term: Term, reason: str) -> None:
        """Tell a transition, once, in the words that the log and the history share."""
        entry = Entry(term.lock_name, term.number, kind, reason, self.identity.instance)
        self.order(Say(entry))

    def retire(self, lease: Lease) -> None:
        """Take a lease out of use for good; it fades until the jobs on it have stopped."""
        lease.gone = True
        if self.leases.get(lease.timing) is lease:
            del self.leases[lease.timing]
        if lease.holds:
            self.fading.add(lease)
