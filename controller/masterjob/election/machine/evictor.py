"""Watches the sessions of others stand still, and evicts the dead (design 3.2 evict, 3.3)."""

from masterjob.election.machine.book import Book
from masterjob.election.machine.commands import AGAIN, Evict, LookAtSessions
from masterjob.election.machine.lease import LONG_AGO, NEVER
from masterjob.election.machine.watch import Watch
from masterjob.election.timing import in_words
from masterjob.election.values import Census, Kind, Term


class Evictor:
    """Looks at all sessions once a heartbeat interval, as long as there is a lock to wait for."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._watch = Watch()
        self._look_at = LONG_AGO
        self._look_first = False
        """Whether the last attempt was in vain, so that only a new look can justify another."""

    def advance(self) -> None:
        """Look, and evict whoever is dead: one at a time, each by the rule of the watch."""
        book = self._book
        if not book.candidates or book.awaits(LookAtSessions, Evict):
            return
        suspect = min(self._watch.suspects(book.now), key=lambda each: each.watched.unanswered, default=None)
        if suspect is not None and not self._look_first:
            book.send(Evict(book.now, suspect.watched, suspect.if_stale))
        elif book.now >= self._look_at:
            book.send(LookAtSessions(book.now))
            self._look_at = book.now + min(timing.heartbeat_interval for timing in book.demand)

    def next_time(self) -> float:
        """When to look or evict next."""
        if not self._book.candidates or self._book.awaits(LookAtSessions, Evict):
            return NEVER
        return self._look_at if self._look_first else min(self._look_at, self._watch.next_suspicion())

    def looked(self, command: LookAtSessions, census: Census) -> None:
        """Take the census in."""
        own = frozenset(lease.id for lease in self._book.leases.values())
        self._look_first = False
        self._watch.look(census, command.sent, self._book.now, own)

    def in_vain(self) -> None:
        """It moved, somebody was faster, or the database does not agree: only a new look can tell."""
        self._look_first, self._look_at = True, self._book.now

    def evicted(self, command: Evict, terms: tuple[Term, ...]) -> None:
        """Tell what ended by our doing."""
        self._watch.forget(command.session_id)
        silent = in_words(command.watched.silent_for(self._book.now))
        victim = command.watched.seen.instance
        for term in terms:
            self._book.say(Kind.EVICTED, term, f"{victim} was silent for {silent} and was evicted")

    def unanswered(self, command: Evict) -> None:
        """Unknown. One lock of it may be held up, and with it the whole eviction: others are dealt with first.

        It is tried again after as long as this attempt took, so that our claims are not held up all the time.
        """
        self._watch.postpone(command.watched, self._book.now + (self._book.now - command.sent))
        self.look_failed()

    def look_failed(self) -> None:
        """Unknown: look again before anything else, in a while."""
        self._look_first, self._look_at = True, self._book.now + AGAIN
