"""Six ways to get the protocol wrong, each of them somebody's real bug. The simulator has to find them all."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from unittest.mock import patch

from masterjob.election.machine.book import Lock
from masterjob.election.machine.candidate import Candidacy
from masterjob.election.machine.lease import Lease
from masterjob.election.machine.master import Mastery
from masterjob.election.machine.watch import Watch
from masterjob.election.values import Inventory, SessionSeen

from .memory import MemoryStore


@contextmanager
def trust_counted_from_the_reply() -> Iterator[None]:
    """The budget of an attempt bounds how late a reply can be, which hides this bug; so it is lifted too."""
    right = Lease.renewed
    with (
        patch.object(Lease, "renewed", lambda lease, _sent, now: right(lease, now, now)),
        patch.object(Lease, "attempt", lambda lease, _now: lease.timing.trust),
    ):
        yield


@contextmanager
def release_before_stop() -> Iterator[None]:
    right = Mastery.end

    def wrong(mastery: Mastery, lock: Lock, why: str, sit_out: float = 0.0) -> None:
        right(mastery, lock, why, sit_out)
        term = mastery._book.held.get(lock.name)
        if term is not None:
            mastery.stopped(term)

    with patch.object(Mastery, "end", wrong):
        yield


def eviction_by_the_databases_clock_alone() -> AbstractContextManager[object]:
    def wrong(_watch: Watch, seen: SessionSeen, _look: object) -> float:
        return seen.age_ms / 1000

    return patch.object(Watch, "_sure_age", wrong)


def term_plus_one() -> AbstractContextManager[object]:
    return patch.object(MemoryStore, "next_term", lambda _store, last: last + 1)


def no_inventory_check() -> AbstractContextManager[object]:
    return patch.object(Inventory, "agrees", lambda _believed, _found: True)


def claim_without_looking_at_the_trust_again() -> AbstractContextManager[object]:
    return patch.object(Candidacy, "still_trusted", lambda _candidacy, _lease: True)


MUTANTS: tuple[Callable[[], AbstractContextManager[object]], ...] = (
    trust_counted_from_the_reply,
    release_before_stop,
    eviction_by_the_databases_clock_alone,
    term_plus_one,
    no_inventory_check,
    claim_without_looking_at_the_trust_again,
)
