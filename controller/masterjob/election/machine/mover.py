"""A lock whose timing has changed goes to the session of the new timing; its term does not end (design 3.2, move).

Until a move is confirmed the term stands on both sessions; its trust and its stop timeout are the smaller of both.
"""

from masterjob.election.machine.actions import StopWithin
from masterjob.election.machine.book import Book, Lock, Serving
from masterjob.election.machine.commands import AGAIN, Move
from masterjob.election.machine.lease import LONG_AGO, NEVER, Lease
from masterjob.election.machine.master import Mastery


class Mover:
    """The moves of this instance's terms."""

    def __init__(self, book: Book, mastery: Mastery) -> None:
        self._book = book
        self._mastery = mastery
        self._retry_at = LONG_AGO

    def advance(self) -> None:
        """Send what is due to be moved."""
        for name in sorted(self._book.retiming) if self._book.now >= self._retry_at else ():
            lock = self._book.locks.get(name)
            if lock is None or not isinstance(lock.state, Serving) or _settled(lock, lock.state):
                self._book.retiming.discard(name)
            elif lock.state.move is None and (lease := self._destination(lock, lock.state)) is not None:
                self._send(lock, lock.state, lease)

    def next_time(self) -> float:
        """When to try again what got no answer."""
        return self._retry_at if self._retry_at > self._book.now else NEVER

    def _destination(self, lock: Lock, state: Serving) -> Lease | None:
        """The lease to move to: the one that an unanswered move named, before any newer wish."""
        lease = state.leases[1] if len(state.leases) > 1 else self._book.leases.get(lock.timing)
        if lease is not None and lease.id in lock.doubtful:
            self._mastery.end(lock, "its timing was changed back while an earlier change was in doubt")
            return None
        return lease if lease is not None and lease.good_for_a_claim(self._book.now) else None

    def _send(self, lock: Lock, state: Serving, lease: Lease) -> None:
        book, old = self._book, state.leases[0]
        command = Move(book.now, state.term, old.id, lease.id)
        book.become(lock, Serving(state.term, (old, lease), state.since, command))
        lock.touched = book.now
        # Before it is sent: a shorter lease must not find a job that still believes in the longer stop timeout.
        book.order(StopWithin(state.term, min(old.timing.stop_timeout, lease.timing.stop_timeout)))
        book.send(command)

    def moved(self, command: Move, holder: str | None) -> None:
        """Stand on the session that the database names; none means that the term was lost."""
        if (found := self._moving(command)) is None:
            return
        lock, state = found
        lock.touched = self._book.now
        lease = next((lease for lease in state.leases if lease.id == holder), None)
        if lease is None:
            self._mastery.end(lock, "the database no longer names it master")
        else:
            self._book.become(lock, Serving(state.term, (lease,), state.since))
            self._book.order(StopWithin(state.term, lease.timing.stop_timeout))

    def unanswered(self, command: Move) -> None:
        """It may be asked again: it names the exact term."""
        self._retry_at = self._book.now + AGAIN
        if found := self._moving(command):
            lock, state = found
            lock.touched = self._book.now
            lock.doubtful.add(command.old)
            self._book.become(lock, Serving(state.term, state.leases, state.since))

    def _moving(self, command: Move) -> tuple[Lock, Serving] | None:
        lock = self._book.locks.get(command.term.lock_name)
        if lock is not None and isinstance(lock.state, Serving) and lock.state.move is command:
            return lock, lock.state
        return None


def _settled(lock: Lock, state: Serving) -> bool:
    return len(state.leases) == 1 and state.leases[0].timing == lock.timing
