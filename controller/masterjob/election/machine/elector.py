"""The elector: routes what happened to the part that it concerns, after the clock has spoken.

The clock comes first at every event, so that a process that was paused past the end of its trust stops
before it takes in whatever good news waited for it: a term is never revived (design 3.4).
"""

from collections.abc import Callable
from random import Random

from masterjob.election.machine.actions import Abandon, Action
from masterjob.election.machine.book import Book, Candidate, Lock, Serving
from masterjob.election.machine.candidate import Candidacy
from masterjob.election.machine.commands import (
    Claim,
    Command,
    Ensure,
    Evict,
    LookAtSessions,
    LookForFree,
    Move,
    Open,
    ReadHeld,
    Release,
    Renew,
    TakeInventory,
)
from masterjob.election.machine.events import (
    Declare,
    Event,
    Failure,
    Leave,
    Reply,
    Started,
    StartFailed,
    StepDown,
    Stopped,
    Withdraw,
    Woken,
)
from masterjob.election.machine.evictor import Evictor
from masterjob.election.machine.heartbeat import Heartbeat
from masterjob.election.machine.lease import NEVER
from masterjob.election.machine.master import Mastery
from masterjob.election.machine.mover import Mover
from masterjob.election.values import Census, Identity, Inventory, Term, Vacancies


class Elector:
    """One instance's part in the election of any number of locks.

    Pure: `handle` is the only way in, its result the only way out. Times are seconds of one local clock that
    never goes back; ``rng`` gives the jitter and ``new_id`` session ids that were never used before.

    Source: design section 3.
    """

    def __init__(self, identity: Identity, rng: Random, new_id: Callable[[], str]) -> None:
        self._book = Book(identity, rng)
        self._mastery = Mastery(self._book)
        self._mover = Mover(self._book, self._mastery)
        self._heartbeat = Heartbeat(self._book, self._mastery, new_id)
        self._evictor = Evictor(self._book)
        self._candidacy = Candidacy(self._book, self._mastery)
        self._leaving = False
        # The heartbeat last: a claim that lacks trust asks for one at once.
        self._parts = (self._mastery, self._mover, self._evictor, self._candidacy, self._heartbeat)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take in one event at the local time ``now``; return what to do, in this order."""
        self._book.now = max(self._book.now, now)
        self._give_up_on_the_overdue()
        self._heartbeat.advance()
        self._take(event)
        for part in self._parts:
            part.advance()
        actions, self._book.actions = self._book.actions, []
        return actions

    def next_time(self) -> float:
        """When to call `handle` with a `Tick` at the latest, on the local clock."""
        return min(self._book.next_due(), *(part.next_time() for part in self._parts))

    # --- what others may ask, from any thread ---

    def trusted_until(self, term: Term) -> float:
        """How long the term may be believed in, on the local clock; in the past where it is over."""
        return self._mastery.trusted_until(term)

    def term_of(self, lock_name: str) -> Term | None:
        """The term that this instance serves, if it does."""
        lock = self._book.locks.get(lock_name)
        return lock.state.term if lock is not None and isinstance(lock.state, Serving) else None

    def why(self, lock_name: str) -> str | None:
        """What this instance is doing about the lock, in words; None if it takes no part."""
        lock = self._book.locks.get(lock_name)
        return lock.why if lock is not None else None

    def waits(self, lock_name: str) -> bool:
        """Whether this instance is a candidate for the lock, and free to compete."""
        lock = self._book.locks.get(lock_name)
        return lock is not None and isinstance(lock.state, Candidate) and lock.state.ready_at <= self._book.now

    def exits_at(self) -> float:
        """When a lease ends on which a job stands that must not outlive it (``lostPolicy: exit``)."""
        return min(
            (lease.expires_at for lease in self._book.every_lease() if lease.strict),
            default=NEVER,
        )

    def trust_ends_at(self) -> float:
        """When the clock alone ends something: the guard's alarm."""
        return min((lease.next_alarm() for lease in self._book.every_lease() if lease.holds), default=NEVER)

    @property
    def idle(self) -> bool:
        """Whether this instance takes no part in anything and keeps no session."""
        return not (self._book.locks or self._book.leases or self._book.fading)

    # --- routing ---

    def _take(self, event: Event) -> None:  # noqa: C901, PLR0912 - a table, written as a match
        match event:
            case Reply():
                if self._book.take(event.command):
                    self._answered(event)
            case Failure():
                if self._book.take(event.command):
                    self._failed(event.command, event.error)
            case Woken():
                self._mastery.wake(event.lock_names)
                self._candidacy.wake(event.lock_names)
            case Declare():
                if not self._leaving:  # what is still wanted is wanted of somebody else
                    self._declare(event)
            case Withdraw():
                self._withdraw(event.lock_name, event.why)
            case Leave():
                self._leaving = True
                for name in sorted(self._book.locks):
                    self._withdraw(name, event.why)
            case StepDown():
                if lock := self._book.locks.get(event.lock_name):
                    self._mastery.end(lock, event.why, lock.timing.heartbeat_interval)
            case Started():
                self._mastery.started(event.term)
            case StartFailed():
                self._mastery.start_failed(event)
            case Stopped():
                self._mastery.stopped(event.term)

    def _answered(self, reply: Reply) -> None:  # noqa: C901 - a table, written as a match
        match reply:
            case Reply(Open() as command):
                self._heartbeat.opened(command)
                self._candidacy.session_renewed()
            case Reply(Renew() as command, Inventory() | None as inventory):
                self._heartbeat.renewed(command, inventory)
                self._candidacy.session_renewed()
            case Reply(LookAtSessions() as command, Census() as census):
                self._evictor.looked(command, census)
            case Reply(Evict() as command, tuple() as terms):
                self._evictor.evicted(command, terms)
                self._candidacy.look_soon()
            case Reply(Evict()):
                self._evictor.in_vain()
                self._candidacy.look_soon()  # somebody else has perhaps freed its locks
            case Reply(Ensure() as command):
                self._candidacy.ensured(command)
            case Reply(LookForFree() as command, Vacancies() as vacancies):
                self._candidacy.looked(command, vacancies)
            case Reply(Claim() as command, tuple() as terms):
                self._candidacy.claimed(command, terms)
            case Reply(TakeInventory() as command, Inventory() as inventory):
                self._mastery.inventory_taken(command, inventory)
            case Reply(ReadHeld() as command, tuple() as held):
                self._mastery.reconcile(command, held)
            case Reply(Release() as command):
                self._mastery.released(command)
            case Reply(Move() as command, str() | None as holder):
                self._mover.moved(command, holder)

    def _failed(self, command: Command, error: str) -> None:  # noqa: C901 - a table, written as a match
        match command:
            case Open() | Renew():
                self._heartbeat.failed(command, error)
            case LookAtSessions():
                self._evictor.look_failed()
            case Evict():
                self._evictor.unanswered(command)
            case LookForFree():
                self._candidacy.look_failed()
            case Claim():
                self._candidacy.unanswered(command)
            case Ensure():
                self._candidacy.ensure_failed(command, error)
            case TakeInventory():
                self._mastery.inventory_failed()
            case Release():
                self._mastery.unanswered(command)
            case Move():
                self._mover.unanswered(command)

    def _give_up_on_the_overdue(self) -> None:
        for command in self._book.overdue():
            self._book.take(command)
            self._book.order(Abandon(command))
            self._failed(command, "no answer in time")

    def _declare(self, event: Declare) -> None:
        book, lock = self._book, self._book.locks.get(event.lock_name)
        if lock is None:
            state = Candidate(book.now + event.delay)
            lock = Lock(event.lock_name, event.timing, event.lost_policy, state)
            book.locks[lock.name] = lock
            book.want(event.timing, +1)
            book.become(lock, state)
            self._candidacy.declared(lock)
            return
        lock.wanted = True
        lock.lost_policy = event.lost_policy
        book.become(lock, lock.state)
        if lock.timing != event.timing:
            book.want(event.timing, +1)
            book.want(lock.timing, -1)
            lock.timing = event.timing
            book.retiming.add(lock.name)

    def _withdraw(self, name: str, why: str) -> None:
        lock = self._book.locks.get(name)
        if lock is None:
            return
        lock.wanted = False
        if isinstance(lock.state, Candidate):
            self._book.become(lock, lock.state)
        else:
            self._mastery.end(lock, why)
