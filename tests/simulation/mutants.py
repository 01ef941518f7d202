"""Six protocol faults that real projects had. The simulator must find each of them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from unittest.mock import patch

from masterjob.election.core.candidate import CandidateRole
from masterjob.election.core.events import JobStopped
from masterjob.election.core.liveness import LivenessDetector
from masterjob.election.core.master import MasterRole
from masterjob.election.core.session import Session
from masterjob.election.core.state import Lock
from masterjob.election.values import Inventory, SessionRow
from tests.simulation.memory import MemoryStore


@contextmanager
def trust_counted_from_the_reply() -> Iterator[None]:
    """The timeout of an attempt bounds how late a reply can be and would hide this bug, so it is raised too."""
    original = Session.record_renewal
    with (
        patch.object(Session, "record_renewal", lambda session, _sent, now: original(session, now, now)),
        patch.object(Session, "attempt_timeout", lambda session, _now: session.timing.trust_duration),
    ):
        yield


@contextmanager
def release_before_stop() -> Iterator[None]:
    original = MasterRole.end_term

    def release_first(master_role: MasterRole, lock: Lock, reason: str, cooldown: float = 0.0) -> None:
        original(master_role, lock, reason, cooldown)
        term = master_role._state.held_terms.get(lock.name)
        if term is not None:
            master_role.on_job_event(JobStopped(term))

    with patch.object(MasterRole, "end_term", release_first):
        yield


def eviction_by_the_databases_clock_alone() -> AbstractContextManager[object]:
    def stored_age(_detector: LivenessDetector, row: SessionRow, _observation: object) -> float:
        return row.age_ms / 1000

    return patch.object(LivenessDetector, "_guaranteed_age", stored_age)


def term_plus_one() -> AbstractContextManager[object]:
    return patch.object(MemoryStore, "next_term", lambda _store, last: last + 1)


def no_inventory_check() -> AbstractContextManager[object]:
    return patch.object(Inventory, "matches", lambda _expected, _actual: True)


def claim_without_looking_at_the_trust_again() -> AbstractContextManager[object]:
    return patch.object(CandidateRole, "is_still_trusted", lambda _role, _session: True)


MUTANTS: tuple[Callable[[], AbstractContextManager[object]], ...] = (
    trust_counted_from_the_reply,
    release_before_stop,
    eviction_by_the_databases_clock_alone,
    term_plus_one,
    no_inventory_check,
    claim_without_looking_at_the_trust_again,
)
