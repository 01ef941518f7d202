"""What the composition root passes to this package: protocols of packages that it must not import, and values."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from masterjob.availability.report import AvailabilityReport
from masterjob.election.runner import ElectionRunner
from masterjob.lock_status import HistoryEvent, LockStatus


class Verb(StrEnum):
    """What an actor wants to do: read (``get masterjobs``), or switch (``update masterjobs/control``)."""

    READ = "read"
    SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Actor:
    """An authenticated client. ``name`` goes into the history; the rest is what a cluster knows of its users."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict, hash=False)


class LockOperations(Protocol):
    """What people do with the locks of a database. Thread-safe; a call may block for some seconds.

    Every method raises `StoreUnavailable` if the database does not answer, and `InvalidValue` for an argument that
    is not valid.
    """

    def disable(
        self, lock_name: str, reason: str, actor: str, source: str = "api", until: datetime | None = None
    ) -> bool:
        """Stop the lock's job and keep it stopped; return False if ``source`` disables it already."""

    def enable(self, lock_name: str, actor: str, source: str = "api") -> bool:
        """Take back the disable of ``source``; return False if there is none."""

    def explain_unknown(self, lock_name: str) -> str:
        """Return that the lock was never used, and the nearest name that was; empty if it was."""

    def forget(self, lock_name: str) -> str | None:
        """Delete a lock that is not used any more, with its history; return None, or why it is kept."""

    def step_down(self, lock_name: str, actor: str, reason: str) -> bool:
        """Ask the master to give up its term; return False if there is no master."""

    def status(self, lock_name: str | None = None) -> list[LockStatus]:
        """Return all locks, or only the named one: an empty list if it has never been used."""

    def status_page(self, after: str, limit: int, *, only_disabled: bool = False) -> list[LockStatus]:
        """Return up to ``limit`` locks by name that come after the name ``after``."""

    def status_of(self, lock_names: Iterable[str]) -> dict[str, LockStatus]:
        """Return those of these locks that have been used."""

    def history(self, lock_name: str, limit: int = 100) -> list[HistoryEvent]:
        """Return the lock's history, newest first, 1,000 events at most."""

    def report(self, since: timedelta, lock_name: str | None = None) -> list[AvailabilityReport]:
        """Return for which share of the time since then the job of this lock ran, or of all locks."""


class Authenticator(Protocol):
    """Knows the actor of a bearer token and what it may do. Called on threads that may block for some seconds.

    If a method raises, the answer is unknown and the request is denied.
    """

    def authenticate(self, token: str) -> Actor | None:
        """Return the token's actor; None if the token is not known or has expired."""

    def allowed(self, actor: Actor, verb: Verb, lock_name: str | None) -> bool:
        """Return whether the actor may do this to the lock; None means every lock."""


ListRunners = Callable[[], Iterable[ElectionRunner]]
"""Returns the election runners of this process, without those that are being closed."""

ReadinessCheck = Callable[[], str | None]
"""One condition of readiness: returns None if it holds, else a sentence. Must not block."""
