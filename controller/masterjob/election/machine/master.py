"""State two: serve until there is a reason not to, then stop the job, then release the lock.

The order of the last two is the rule that most elections break: a lock is never given back before the
job's ``stop`` has returned (design 3, rule 3). And nothing that was read is believed over something that was
done since (design 3.2, renew).
"""

from collections import deque

from masterjob.election.machine.actions import Overrun, StartJob, StopJob, StopWithin
from masterjob.election.machine.book import Book, Held, Lock, Releasing, Serving, Stopping
from masterjob.election.machine.book import Candidate as CandidateState
from masterjob.election.machine.commands import AGAIN, ReadHeld, Release, TakeInventory
from masterjob.election.machine.events import StartFailed
from masterjob.election.machine.lease import LONG_AGO, NEVER, Lease, Phase
from masterjob.election.values import Held as HeldRow
from masterjob.election.values import Inventory, Kind, Term

BACKOFF_LIMIT = 300.0
"""Seconds that a lock whose ``start`` keeps failing here sits out at most."""


class Mastery:
    """The terms of this instance."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._strays: set[Term] = set()
        self._retry_at = LONG_AGO
        self._held_up: deque[tuple[Term, ...]] = deque()
        """Terms whose release got no answer, in groups that are asked for in turn."""
        self._look_again = False

    def is_stray(self, term: Term) -> bool:
        """Whether the term is to be given back unserved: its release may be on its way already."""
        return term in self._strays

    # --- serving ---

    def serve(self, lock: Lock, term: Term, lease: Lease) -> None:
        """Begin the term: start the job."""
        self._book.become(lock, Serving(term, (lease,), self._book.now))
        lock.doubtful.clear()
        self._book.retiming.add(lock.name)  # its timing may have changed while the claim was on its way
        lock.why = f"master since term {term.number}"
        self._book.order(StopWithin(term, lease.timing.stop_timeout))
        self._book.order(StartJob(term))
        self._book.say(Kind.ELECTED, term, f"{self._book.identity.instance} became master of {lock.name}")

    def started(self, term: Term) -> None:
        """The job runs: whatever failed before is forgotten."""
        if lock := self._lock_of(term):
            lock.failed_starts = 0

    def start_failed(self, event: StartFailed) -> None:
        """Give the lock to others, and sit out longer each time."""
        lock = self._lock_of(event.term)
        if lock is None or not isinstance(lock.state, Serving):
            return
        if self._book.now - lock.state.since >= BACKOFF_LIMIT:
            # It had worked: a start that stays for the whole term has no other way to say so.
            lock.failed_starts = 0
        wait = min(BACKOFF_LIMIT, lock.timing.heartbeat_interval * 2.0**lock.failed_starts)
        lock.failed_starts = min(lock.failed_starts + 1, 30)
        self._book.say(Kind.START_FAILED, event.term, f"start of {lock.name} failed: {event.error}")
        self.end(lock, f"start failed: {event.error}", wait)

    def judge(self, believed: Inventory, found: Inventory) -> None:
        """Obey the flags, and look closer where the database holds something else for us than we believed."""
        for flagged in found.flagged:
            if lock := self._lock_of(flagged.term):
                self.end(lock, flagged.why, lock.timing.heartbeat_interval if flagged.asked else 0.0)
        if not found.agrees(believed) and not self._book.awaits(ReadHeld):
            self._book.send(ReadHeld(self._book.now, self._book.identity.instance))

    def reconcile(self, command: ReadHeld, held: tuple[HeldRow, ...]) -> None:
        """Adopt nothing, release what is not run, stop what is not held."""
        rows = {row.term.lock_name: row for row in held}
        for name, row in rows.items():
            lock = self._book.locks.get(name)
            if lock is None or (isinstance(lock.state, CandidateState) and lock.touched < command.sent):
                self._strays.add(row.term)
        for name, term in list(self._book.held.items()):
            lock = self._book.locks[name]
            if lock.touched < command.sent and (name not in rows or rows[name].term != term):
                self._book.rowless.append(name)  # the row itself may be lost
                self.end(lock, "the database no longer names it master")

    def wake(self, names: frozenset[str] | None) -> None:
        """Somebody changed something: ask now rather than with the next heartbeat."""
        if self._book.held and (names is None or not names.isdisjoint(self._book.held)):
            if self._book.awaits(TakeInventory):
                self._look_again = True
            else:
                self._take_inventory()

    def inventory_taken(self, command: TakeInventory, found: Inventory) -> None:
        """Judge an inventory read between two heartbeats."""
        self.judge(command.believed, found)
        self.inventory_failed()

    def inventory_failed(self) -> None:
        """Ask again if there was another wake-up meanwhile; else the next heartbeat will tell."""
        if self._look_again:
            self._look_again = False
            self._take_inventory()

    def _take_inventory(self) -> None:
        book = self._book
        book.send(TakeInventory(book.now, book.identity.instance, book.inventory()))

    # --- ending ---

    def end(self, lock: Lock, why: str, sit_out: float = 0.0) -> None:
        """Tell the job to stop; from here the term can only end. ``sit_out`` seconds are not competed in."""
        if isinstance(lock.state, Serving):
            lock.why = f"stopping: {why}"
            state = lock.state
            self._book.become(lock, Stopping(state.term, state.leases, why, self._book.now + sit_out))
            self._book.order(StopJob(state.term, why))

    def end_all(self, lease: Lease, why: str) -> None:
        """End every term that stands on this lease."""
        for name in sorted(lease.holds):
            self.end(self._book.locks[name], why)

    def stopped(self, term: Term) -> None:
        """The job has stopped: only now the lock may be given back."""
        lock = self._lock_of(term)
        match lock.state if lock else None:
            case Stopping(leases=leases, why=why, ready_at=ready_at):
                self.give_back(term, Releasing(term, leases, why, ready_at))
            case Serving(leases=leases):
                why = "its trust ended before the job was started"
                self.give_back(term, Releasing(term, leases, why, self._book.now))

    def give_back(self, term: Term, state: Releasing) -> None:
        """Release a lock on which nothing runs."""
        lock = self._book.locks[term.lock_name]
        lock.why = f"releasing: {state.why}"
        self._book.become(lock, state)

    def overrun(self, lease: Lease) -> None:
        """The lease is over: name the jobs that have not stopped by now."""
        for name in sorted(lease.holds):
            lock = self._book.locks[name]
            if isinstance(lock.state, Serving | Stopping):
                term = lock.state.term
                self._book.order(Overrun(term, lock.lost_policy))
                self._book.say(Kind.OVERRUN, term, f"stop of {name} has not returned by the end of its lease")

    # --- releasing ---

    def advance(self) -> None:
        """Send what is due to be released."""
        for name, state in list(self._book.releasing.items()) if self._book.fading else ():
            if all(lease.gone for lease in state.leases):
                self._set_free(name)
        if self._book.now >= self._retry_at and not self._book.awaits(Release):
            self._release()

    def next_time(self) -> float:
        """When to try again what got no answer."""
        return self._retry_at if self._retry_at > self._book.now else NEVER

    def _release(self) -> None:
        """Release all there is with one statement, and after that one group of those that got no answer."""
        book = self._book
        due = {*(state.term for state in book.releasing.values()), *self._strays}
        while self._held_up and due.isdisjoint(self._held_up[0]):
            self._held_up.popleft()
        terms = due.difference(*self._held_up)
        if not terms and self._held_up:
            terms = due.intersection(self._held_up.popleft())
        if not terms:
            return
        for term in terms:
            if lock := self._lock_of(term):
                lock.touched = book.now
        ids = {lease.id for lease in book.every_lease()}
        book.send(Release(book.now, tuple(sorted(ids)), tuple(sorted(terms))))

    def released(self, command: Release) -> None:
        """The locks are free; say so and stand again."""
        self._strays.difference_update(command.terms)
        for name, number in ((term.lock_name, term.number) for term in command.terms):
            if name in self._book.releasing and self._book.releasing[name].term.number == number:
                self._set_free(name)

    def _set_free(self, name: str) -> None:
        lock, state = self._book.locks[name], self._book.releasing[name]
        lock.touched = self._book.now
        lock.why = f"stepped down: {state.why}"
        self._book.say(
            Kind.STEPPED_DOWN,
            state.term,
            f"{self._book.identity.instance} stepped down from {lock.name}: {state.why}",
        )
        self._book.become(lock, CandidateState(state.ready_at))

    def unanswered(self, command: Release) -> None:
        """It may be asked again, in two halves: one row that somebody else has locked must not hold up the others.

        One alone waits as long as its attempt took, so that our claims are not held up all the time.
        """
        half = (len(command.terms) + 1) // 2
        self._held_up.extend(group for group in (command.terms[:half], command.terms[half:]) if group)
        alone = len(command.terms) == 1
        self._retry_at = self._book.now + (max(AGAIN, self._book.now - command.sent) if alone else AGAIN)
        for term in command.terms:
            if lock := self._lock_of(term):
                lock.touched = self._book.now

    # --- looking up ---

    def trusted_until(self, term: Term) -> float:
        """How long the term may be believed in; in the past where it is not served any more."""
        lock = self._lock_of(term)
        if lock is None or not isinstance(lock.state, Serving):
            return LONG_AGO
        return min(
            LONG_AGO if lease.gone or lease.phase is not Phase.TRUSTED else lease.trusted_until
            for lease in lock.state.leases
        )

    def _lock_of(self, term: Term) -> Lock | None:
        lock = self._book.locks.get(term.lock_name)
        return lock if lock is not None and isinstance(lock.state, Held) and lock.state.term == term else None
