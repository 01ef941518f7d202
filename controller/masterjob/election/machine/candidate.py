"""State one: wait for a vacancy, take a fair share, claim (design 3.2 claim, 3.5).

A look finds the locks that are enabled and free. An instance first claims only up to its fair share, in
random order and after a little jitter, so that masters spread over the instances; what is still free after a
quarter of a second anyone takes. The claim decides; everything before it is only politeness.
"""

import heapq
import math
from collections import deque

from masterjob.election.machine.book import Book, Candidate, Claiming, Lock, Releasing
from masterjob.election.machine.commands import AGAIN, Claim, Ensure, LookForFree
from masterjob.election.machine.lease import LONG_AGO, NEVER, Lease
from masterjob.election.machine.master import Mastery
from masterjob.election.values import Term, Vacancies

JITTER = 0.05
"""Seconds by which claims for the same vacancy are spread."""

THE_REST = 0.25
"""Seconds after which what no fair share covered is anybody's."""

AT_ONCE = 0.02
"""Seconds until an instance that lost some locks of its share to others chooses again."""

BATCH = 500
"""Locks claimed with one statement."""

WAITING = "waiting for the lock to be free"


class Candidacy:
    """The locks that this instance waits for."""

    def __init__(self, book: Book, mastery: Mastery) -> None:
        self._book = book
        self._mastery = mastery
        self._ensure_at = LONG_AGO
        self._unwritten: deque[tuple[str, ...]] = deque()
        """Locks whose rows could not be written, in groups that are tried in turn."""
        self._look_at = LONG_AGO
        self._rest_at = NEVER
        self._chosen: list[str] = []
        self._claim_at = NEVER
        self._rows = 0
        self._hungry = True
        """Whether the next heartbeat should be followed by a look, since there was no trust to claim with."""

    # --- what others tell ---

    def declared(self, lock: Lock) -> None:
        """A lock is wanted that was not before: it needs its row first."""
        self._book.rowless.append(lock.name)

    def session_renewed(self) -> None:
        """There is trust again, for claims that had to wait for it."""
        if self._hungry:
            self._hungry = False
            self.look_soon()

    def look_soon(self) -> None:
        """Something may have become free."""
        self._look_at = self._book.now

    def wake(self, names: frozenset[str] | None) -> None:
        """Somebody changed something."""
        if names is None or not names.isdisjoint(self._book.candidates):
            self.look_soon()

    # --- time ---

    def advance(self) -> None:
        """Ensure, look and claim what is due."""
        while self._book.ready and self._book.ready[0] <= self._book.now:
            heapq.heappop(self._book.ready)
            self.look_soon()
        if self._book.now >= self._ensure_at and not self._book.awaits(Ensure):
            self._ensure()
        if self._may_ask() and self._chosen and self._book.now >= self._claim_at:
            self._claim()
        if self._may_ask() and self._time_to_look():
            self._look()

    def next_time(self) -> float:
        """When one of these is due."""
        rows = self._book.rowless or self._unwritten
        ensure_at = self._ensure_at if rows and not self._book.awaits(Ensure) else NEVER
        times = [self._book.ready[0] if self._book.ready else NEVER, ensure_at]
        if self._may_ask():
            times.append(self._claim_at if self._chosen else min(self._look_at, self._rest_at))
        return min(times)

    def _may_ask(self) -> bool:
        book = self._book
        return (
            bool(book.candidates)
            and not book.rowless
            and not book.awaits(Ensure, LookForFree, Claim)
            and any(lease.trust_left(book.now) > 0 for lease in book.leases.values())
        )

    def _time_to_look(self) -> bool:
        return not self._chosen and self._book.now >= min(self._look_at, self._rest_at)

    # --- rows ---

    def _ensure(self) -> None:
        """Have the rows of locks written; what could not be, a group at a time, once all others are."""
        book = self._book
        while book.rowless or self._unwritten:
            if book.rowless:
                names, book.rowless = book.rowless[:BATCH], book.rowless[BATCH:]
            else:
                names = list(self._unwritten.popleft())
            if names := [name for name in names if name in book.locks]:
                book.send(Ensure(book.now, tuple(sorted(names))))
                return

    def ensured(self, command: Ensure) -> None:
        """The locks can be found now, if they are free."""
        for name in command.lock_names:
            if (lock := self._book.locks.get(name)) and isinstance(lock.state, Candidate):
                lock.why = WAITING
        self.look_soon()

    def ensure_failed(self, command: Ensure, error: str) -> None:
        """Try it again in two halves: one name that the database cannot store must not stop all others."""
        for name in command.lock_names:
            if (lock := self._book.locks.get(name)) and isinstance(lock.state, Candidate):
                lock.why = f"its row cannot be written: {error}"
        half = (len(command.lock_names) + 1) // 2
        self._unwritten.extend(group for group in (command.lock_names[:half], command.lock_names[half:]) if group)
        self._ensure_at = self._book.now + AGAIN

    # --- looking ---

    def _look(self) -> None:
        book = self._book
        command = LookForFree(book.now, take_the_rest=book.now >= self._rest_at)
        self._rest_at = NEVER
        self._look_at = book.now + min(timing.check_master_interval for timing in book.demand)
        book.send(command)

    def looked(self, command: LookForFree, found: Vacancies) -> None:
        """Choose what to claim of what is free."""
        if found.due_ms is not None:
            self._look_at = min(self._look_at, self._book.now + found.due_ms / 1000)
        if found.locks < self._rows:  # a promoted replica lost some: write ours again
            self._book.rowless = list(self._book.locks)
        self._rows = found.locks
        free = [name for name in found.names if self._wants(name)]
        self._book.rng.shuffle(free)
        alone = found.instances <= 1
        if not (alone or command.take_the_rest):
            share = math.ceil(found.enabled / found.instances) - len(self._book.held)
            self._rest_at = self._book.now + THE_REST if len(free) > max(0, share) else NEVER
            free = free[: max(0, share)]
        self._chosen = free
        self._claim_at = self._book.now + (0.0 if alone else self._book.rng.uniform(0, JITTER))

    def _wants(self, name: str) -> bool:
        lock = self._book.locks.get(name)
        return lock is not None and isinstance(lock.state, Candidate) and lock.state.ready_at <= self._book.now

    # --- claiming ---

    def _claim(self) -> None:
        """Claim a batch for the first lease that is good for it; a lease that is not is renewed first."""
        self._chosen = [name for name in self._chosen if self._wants(name)]
        lease = self._lease_of(self._chosen[0]) if self._chosen else None
        if lease is None:
            self._chosen = []
        elif lease.good_for_a_claim(self._book.now):
            self._send_claim(lease)
        else:
            lease.renew_at = min(lease.renew_at, self._book.now)
            self._hungry = True
            self._chosen = []

    def _send_claim(self, lease: Lease) -> None:
        book = self._book
        batch = [name for name in self._chosen if self._lease_of(name) is lease][:BATCH]
        self._chosen = [name for name in self._chosen if name not in set(batch)]
        command = Claim(book.now, lease.id, tuple(sorted(batch)))
        for name in batch:
            book.become(book.locks[name], Claiming(command))
            book.locks[name].touched = book.now
        book.send(command)

    def claimed(self, command: Claim, terms: tuple[Term, ...]) -> None:
        """Start what was granted, if it may still be trusted; the answer may have taken its time."""
        granted = {term.lock_name: term for term in terms if not self._mastery.is_stray(term)}
        lease = next((x for x in self._book.every_lease() if x.id == command.session_id), None)
        # Who won only some of its share looks again before the others take the rest.
        wait = self._book.rng.uniform(0, AT_ONCE) if granted else THE_REST
        for lock in self._claiming(command):
            if lock.name not in granted or lease is None:  # a session that is gone took its grants along
                self._stand_again(lock, wait)
            elif lock.wanted and self.still_trusted(lease):
                self._mastery.serve(lock, granted[lock.name], lease)
            else:
                why = "the grant came too late" if lock.wanted else "not wanted any more"
                state = Releasing(granted[lock.name], (lease,), why, self._book.now)
                self._mastery.give_back(state.term, state)

    def still_trusted(self, lease: Lease) -> bool:
        """The second look at the trust, right before the start (design 3.2, claim)."""
        return lease.trust_left(self._book.now) > 0

    def unanswered(self, command: Claim) -> None:
        """A claim's outcome is unknown: nothing is started; if it was granted, the inventory will find it."""
        for lock in self._claiming(command):
            self._stand_again(lock, AGAIN)

    def look_failed(self) -> None:
        """Look again in a while."""
        self._look_at = self._book.now + AGAIN

    def _stand_again(self, lock: Lock, wait: float) -> None:
        lock.why = WAITING
        self._book.become(lock, Candidate(self._book.now + wait))

    def _claiming(self, command: Claim) -> list[Lock]:
        locks = [self._book.locks[name] for name in command.lock_names]
        for lock in locks:
            lock.touched = self._book.now
        return locks

    def _lease_of(self, name: str) -> Lease | None:
        return self._book.leases.get(self._book.locks[name].timing)
