"""Keeps one session alive for each timing in use: opens, renews, retries, and notices the end of trust.

Design 3.2 (renew), 3.4.
"""

from collections.abc import Callable

from masterjob.election.machine.book import Book
from masterjob.election.machine.commands import Depart, Open, OwnLane, Renew
from masterjob.election.machine.lease import NEVER, Lease, Phase
from masterjob.election.machine.master import Mastery
from masterjob.election.timing import Timing, in_words
from masterjob.election.values import Inventory, NewSession


class Heartbeat:
    """The leases of this instance."""

    def __init__(self, book: Book, mastery: Mastery, new_id: Callable[[], str]) -> None:
        self._book = book
        self._mastery = mastery
        self._new_id = new_id
        self._beating: dict[Open | Renew, Lease] = {}
        self._lanes: dict[Lease, OwnLane] = {}

    def advance(self) -> None:
        """Let the clock speak: end trust that is over, then beat where it is time."""
        for lease in self._book.every_lease():
            self._sound_alarms(lease)
        for timing in self._book.demand:
            if timing not in self._book.leases:
                self._found(timing)
        for lease in list(self._book.leases.values()):
            if not self._book.demand[lease.timing] and not lease.holds:
                self._depart(lease)
            elif self._book.now >= lease.renew_at and lease not in self._beating.values():
                self._beat(lease)
        self._book.fading = {lease for lease in self._book.fading if lease.holds}

    def next_time(self) -> float:
        """When the clock has something to say again."""
        beats = [lease.renew_at for lease in self._book.leases.values() if lease not in self._beating.values()]
        alarms = [lease.next_alarm() for lease in self._book.every_lease()]
        return min([*beats, *alarms], default=NEVER)

    def _found(self, timing: Timing) -> None:
        lease = Lease(self._new_id(), timing, self._book.now)
        self._lanes[lease] = OwnLane(lease.id, min(timing.heartbeat_interval, timing.trust / 2))
        self._book.leases[timing] = lease

    def _beat(self, lease: Lease) -> None:
        book, lane = self._book, self._lanes[lease]
        command: Open | Renew
        if lease.phase is Phase.NEW:
            session = NewSession(lease.id, book.identity, lease.timing.lease_ms)
            command = Open(book.now, lane, session)
        else:
            command = Renew(book.now, lane, lease.id, book.identity.instance, book.inventory())
        self._beating[command] = lease
        book.send(command, lease.attempt(book.now))

    def opened(self, command: Open) -> None:
        """The session is there: its first heartbeat counts like any other."""
        self._beating.pop(command).renewed(command.sent, self._book.now)

    def renewed(self, command: Renew, inventory: Inventory | None) -> None:
        """Take a confirmed heartbeat, or learn that the session was evicted."""
        lease = self._beating.pop(command)
        if lease.gone:
            return
        if inventory is None:
            self._evicted(lease)
        else:
            lease.renewed(command.sent, self._book.now)
            self._mastery.judge(command.believed, inventory)

    def failed(self, command: Open | Renew, error: str) -> None:
        """Count a heartbeat without an answer; when the retries are used up, stop."""
        lease = self._beating.pop(command)
        lease.failed(command.sent, self._book.now, self._book.rng.random())
        if lease.phase is Phase.NEW:
            lease.id = self._new_id()  # the insert may still happen, and no id is ever used twice
        elif lease.phase is Phase.TRUSTED and lease.exhausted:
            self._distrust(lease, f"{lease.failures} heartbeats in a row failed: {error}")

    def _sound_alarms(self, lease: Lease) -> None:
        if lease.phase is Phase.TRUSTED and self._book.now >= lease.trusted_until:
            self._distrust(lease, f"no heartbeat was confirmed for {in_words(lease.timing.trust)}")
        if lease.phase is Phase.UNTRUSTED and self._book.now >= lease.expires_at:
            lease.phase = Phase.EXPIRED
            self._mastery.overrun(lease)

    def _distrust(self, lease: Lease, why: str) -> None:
        lease.phase = Phase.UNTRUSTED
        self._mastery.end_all(lease, why)

    def _evicted(self, lease: Lease) -> None:
        if lease.phase is Phase.TRUSTED:
            lease.phase = Phase.UNTRUSTED
        # Others may be master already: a job has its stop timeout, not what our own lease had left.
        lease.expires_at = min(lease.expires_at, self._book.now + lease.timing.stop_timeout)
        self._depart(lease)
        self._mastery.end_all(lease, "its session was evicted")

    def _depart(self, lease: Lease) -> None:
        self._book.retire(lease)
        self._book.send(Depart(self._book.now, self._lanes.pop(lease), lease.id))
