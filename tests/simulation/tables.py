"""The tables of the simulated database."""

import copy
from dataclasses import dataclass, field

from masterjob.election.values import HistoryEntry, Incarnation


@dataclass
class StoredSession:
    instance: str
    lease_ms: int
    heartbeat_ms: int
    beat: int = 1
    renewed_at: float = 0.0
    """When the last heartbeat really was, in seconds of the simulated world."""


@dataclass
class StoredLock:
    holder: str | None = None
    term: int = 0
    enabled: bool = True
    enable_at_ms: int | None = None
    """When a timed disable ends."""
    step_down_term: int | None = None


@dataclass
class Tables:
    """What is replicated."""

    incarnation: Incarnation = field(default_factory=Incarnation)
    sessions: dict[str, StoredSession] = field(default_factory=dict)
    locks: dict[str, StoredLock] = field(default_factory=dict)
    history: list[HistoryEntry] = field(default_factory=list)
    guarded_writes: dict[str, int] = field(default_factory=dict)
    """The term of the last guarded write of each lock's job, whose data is in the same database."""

    def copy(self) -> "Tables":
        """Return a copy whose rows can be changed."""
        return Tables(
            self.incarnation,
            {id_: copy.copy(row) for id_, row in self.sessions.items()},
            {name: copy.copy(row) for name, row in self.locks.items()},
            list(self.history),
            dict(self.guarded_writes),
        )
