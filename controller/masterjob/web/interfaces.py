"""What this room is handed by the composition root: protocols of the rooms that it does not know, and values.

Source: design sections 4 and 6.5.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from masterjob.lock_status import HistoryEvent, LockStatus


class Verb(StrEnum):
    """What somebody wants to do: look (``get masterjobs``), or switch (``update masterjobs/control``)."""

    READ = "read"
    SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something. ``name`` goes into the history; the rest is what a cluster knows of its users."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict, hash=False)


class LockOperations(Protocol):
    """What people do with locks. May be called from many threads, and may block for some seconds.

    Every method raises `StoreUnavailable` when the database does not answer, and `SettingError` when what was
    said cannot be.
    """

    def disable(
        self, lock_name: str, reason: str, actor: str, source: str = "api", until: datetime | None = None
    ) -> bool:
        """Stop the lock's job and keep it stopped; False where ``source`` does so already."""

    def enable(self, lock_name: str, actor: str, source: str = "api") -> bool:
        """Take back what ``source`` disabled; False where that was nothing."""

    def step_down(self, lock_name: str, actor: str, reason: str) -> bool:
        """Ask the present master to give its term up; False where there is none."""

    def status(self, lock_name: str | None = None) -> list[LockStatus]:
        """Return all locks, or the one asked for: an empty list where nobody has used it yet."""

    def status_of(self, lock_names: Iterable[str]) -> dict[str, LockStatus]:
        """Return those of these locks that somebody has used."""

    def history(self, lock_name: str, limit: int = 100) -> list[HistoryEvent]:
        """Return what happened to the lock, the newest first, 1,000 lines at most."""


class Authenticator(Protocol):
    """Who somebody is, by a bearer token, and what they may. Called on threads that may block for some seconds.

    Whatever a method raises means that it could not be found out now: the request is denied.
    """

    def authenticate(self, token: str) -> Actor | None:
        """Return whose token this is; None where it is nobody's, or not valid any more."""

    def allowed(self, actor: Actor, verb: Verb, lock_name: str | None) -> bool:
        """Tell whether the actor may do this to the lock; None as its name: to every lock."""


class InstanceHealth(Protocol):
    """One instance's part in the election, as far as its health goes
    (`masterjob.election.runner.ElectionRunner`).
    """

    @property
    def lag(self) -> float:
        """Seconds for which the elector's thread should have turned and has not."""

    @property
    def trust_left(self) -> float | None:
        """Seconds until the first trust ends that a term stands on; None where there is none."""

    @property
    def unavailable_reason(self) -> str | None:
        """Why nothing can be done at the moment, if so."""

    @property
    def is_closed(self) -> bool:
        """Whether this instance has ended."""


ListInstances = Callable[[], Iterable[InstanceHealth]]
"""The instances that take part now; one that is leaving is not among them."""

ReadinessCheck = Callable[[], str | None]
"""One thing that has to be so before this process is ready: None where it is, else a sentence. Must not block."""
