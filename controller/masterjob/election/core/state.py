"""What the parts of an elector share: the locks and sessions, the commands in flight, and the actions ordered."""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from masterjob.election.core.actions import Abandon, Action, RecordTransition
from masterjob.election.core.commands import COMMAND_TIMEOUT, Move, StoreCommand
from masterjob.election.core.events import Failure, Reply
from masterjob.election.core.known_database import KnownDatabase
from masterjob.election.core.session import LONG_AGO, NEVER, Session
from masterjob.election.timing import Timing
from masterjob.election.values import HistoryEntry, Identity, Inventory, LostPolicy, Term, TransitionKind

AnswerT = TypeVar("AnswerT")

LOOK_INTERVAL = 0.25
"""The longest time between two looks at the clock while a command is in flight, in seconds."""

ROUNDING_ERROR = 1e-6
"""Seconds by which sums of times may be wrong."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A candidate, which competes from ``ready_at`` on."""

    ready_at: float


@dataclass(frozen=True, slots=True)
class Claiming:
    """A candidate whose claim is in flight."""


@dataclass(frozen=True, slots=True)
class Serving:
    """Master: the job was ordered to start. While the lock moves, it depends on both sessions."""

    term: Term
    sessions: tuple[Session, ...]
    since: float
    move: Move | None = None


@dataclass(frozen=True, slots=True)
class Stopping:
    """Master, but the job was ordered to stop and has not stopped yet."""

    term: Term
    sessions: tuple[Session, ...]
    reason: str
    ready_at: float


@dataclass(frozen=True, slots=True)
class Releasing:
    """The job has stopped; the release is not confirmed yet."""

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
    """When a claim, move or release of it was last sent or finished. Anything read earlier is outdated."""
    failed_starts: int = 0
    wanted: bool = True
    unconfirmed_sources: set[str] = field(default_factory=set)
    """The sources of failed moves: such a move may still be executed if the lock returns to its source."""
    explanation: str = "not checked yet"
    last_run_transition: TransitionKind | None = None
    """What was recorded last of the job's run in this term."""


@dataclass(frozen=True, slots=True)
class _InFlight:
    timeout: float
    deadline: float
    """In running time."""
    then: Callable[[Any], None]
    otherwise: Callable[[str], None]


class ElectorState:
    """The state that the parts of one elector share."""

    def __init__(self, identity: Identity, rng: Random) -> None:
        self.identity = identity
        self.rng = rng
        self.now = 0.0
        self.running_time = 0.0
        """Seconds for which this elector ran while a command was in flight; less than ``now`` has advanced if the
        process was frozen, since it did not wait for an answer in that time."""
        self.locks: dict[str, Lock] = {}
        self.candidates: set[str] = set()
        self.held_terms: dict[str, Term] = {}
        self.releasing: dict[str, Releasing] = {}
        self.missing_rows: list[str] = []
        """Locks whose row must be written, or written again, before anything is claimed."""
        self.locks_to_retime: set[str] = set()
        """Locks whose term may depend on a session of another timing."""
        self.ready_times: list[float] = []
        """A heap of the times at which a candidate begins to compete."""
        self.demand: Counter[Timing] = Counter()
        """How many locks use each timing."""
        self.sessions: dict[Timing, Session] = {}
        self.retired: list[Session] = []
        """Retired sessions whose jobs have not all stopped."""
        self.database = KnownDatabase()
        self.actions: list[Action] = []
        self._in_flight: dict[StoreCommand[object], _InFlight] = {}

    def advance_clock(self, now: float) -> None:
        """Set the time; after a longer gap than was ordered, the rest of it does not count as running time."""
        passed = max(0.0, now - self.now)
        self.now += passed
        self.running_time += min(passed, self._look_interval())

    # --- locks ---

    def set_phase(self, lock: Lock, phase: LockPhase) -> None:
        """Move the lock to its next phase and update the indexes."""
        self._remove_from_indexes(lock)
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

    def _remove_from_indexes(self, lock: Lock) -> None:
        for session in lock.phase.sessions if isinstance(lock.phase, HeldPhase) else ():
            session.locks.discard(lock.name)
            session.exit_locks.discard(lock.name)
        self.candidates.discard(lock.name)
        self.releasing.pop(lock.name, None)
        self.held_terms.pop(lock.name, None)

    def held_lock(self, term: Term) -> Lock | None:
        """Return the term's lock if this instance holds exactly this term."""
        lock = self.locks.get(term.lock_name)
        return lock if lock is not None and isinstance(lock.phase, HeldPhase) and lock.phase.term == term else None

    def add_demand(self, timing: Timing, count: int) -> None:
        """Add to the number of locks that use a timing; ``count`` may be negative."""
        self.demand[timing] += count
        if not self.demand[timing]:
            del self.demand[timing]

    def inventory(self) -> Inventory:
        """Return the inventory that the database should report."""
        return Inventory.of(self.held_terms.values())

    def all_sessions(self) -> list[Session]:
        """Return the sessions in use, and the retired ones whose jobs have not stopped."""
        return [*self.sessions.values(), *self.retired]

    # --- orders ---

    def emit(self, action: Action) -> None:
        """Order an action."""
        self.actions.append(action)

    def record(
        self, kind: TransitionKind, term: Term, reason: str, happened_at: float | None = None, instance: str = ""
    ) -> None:
        """Order a transition to be written to the log and the history: now and of this instance, if not given."""
        time, name = self.now if happened_at is None else happened_at, instance or self.identity.instance
        entry = HistoryEntry(term.lock_name, term.number, kind, reason, name, happened_at=time)
        self.emit(RecordTransition(entry))

    def send(
        self,
        command: StoreCommand[AnswerT],
        *,
        then: Callable[[AnswerT], None],
        otherwise: Callable[[str], None],
        timeout: float = COMMAND_TIMEOUT,
    ) -> None:
        """Order a command. Exactly one of ``then`` (with the answer) and ``otherwise`` (with the error) follows.

        ``otherwise`` means that the outcome is unknown: the database may have executed the command.
        """
        self.emit(command)
        self._in_flight[command] = _InFlight(timeout, self.running_time + timeout, then, otherwise)

    def is_in_flight(self, *command_types: type[StoreCommand[object]]) -> bool:
        """Return whether a command of one of these types has neither been answered nor failed."""
        return any(isinstance(command, command_types) for command in self._in_flight)

    def complete(self, event: Reply | Failure) -> None:
        """Continue where the command was sent; ignore an outcome that comes after its timeout."""
        in_flight = self._in_flight.pop(event.command, None)
        match event:
            case Reply(_, answer) if in_flight:
                in_flight.then(answer)
            case Failure(_, error) if in_flight:
                in_flight.otherwise(error)

    def time_out_commands(self) -> None:
        """Abandon and fail the commands whose timeout is over."""
        over = self.running_time + ROUNDING_ERROR
        for command in [each for each, in_flight in self._in_flight.items() if in_flight.deadline <= over]:
            self.emit(Abandon(command))
            self.complete(Failure(command, "no answer in time"))

    def next_deadline(self) -> float:
        """Return when to look at the commands in flight again."""
        if not self._in_flight:
            return NEVER
        time_left = min(in_flight.deadline for in_flight in self._in_flight.values()) - self.running_time
        return self.now + max(ROUNDING_ERROR, min(time_left, self._look_interval()))

    def _look_interval(self) -> float:
        """Return the most seconds of running time that pass unobserved: of a freeze, so much is counted."""
        shortest = min((in_flight.timeout for in_flight in self._in_flight.values()), default=NEVER)
        return min(LOOK_INTERVAL, shortest / 4)
