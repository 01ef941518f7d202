"""The values that the election and the database exchange."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from masterjob.errors import SettingError

MAX_LOCK_NAME_LENGTH = 200
_CONTROL_CHARACTERS = r"\x00-\x1f\x7f\ud800-\udfff"
_LOCK_NAME_PATTERN = re.compile(
    rf"[^\s{_CONTROL_CHARACTERS}](?:[^{_CONTROL_CHARACTERS}]*[^\s{_CONTROL_CHARACTERS}])?"
)


def validate_lock_name(text: object) -> str:
    """Return ``text`` if it is a valid lock name on every supported database.

    Raises:
        SettingError: it is not a string, is empty, has more than 200 characters, contains control characters, or
            begins or ends with whitespace (which some databases ignore in comparisons).

    """
    if not isinstance(text, str) or not text:
        raise SettingError(f"lockName must be a non-empty string, not {text!r}")
    if len(text) > MAX_LOCK_NAME_LENGTH:
        raise SettingError(f"lockName has {len(text)} characters; at most {MAX_LOCK_NAME_LENGTH} are allowed")
    if not _LOCK_NAME_PATTERN.fullmatch(text):
        raise SettingError(
            f"lockName {text!r} must not contain control characters or begin or end with whitespace"
        )
    return text


class TransitionKind(StrEnum):
    """What happened, as the history calls it."""

    ELECTED = "elected"
    STEPPED_DOWN = "stepped down"
    EVICTED = "evicted"
    LAST_HEARTBEAT = "last heartbeat"
    """The last sign of life of a master that was evicted later."""
    TRUST_ENDED = "trust ended"
    RUNNING = "running"
    RESTARTING = "restarting"
    """The job has ended and is started again in the same term."""
    COMPLETED = "completed"
    FAILED = "failed"
    START_FAILED = "start failed"
    STOPPED = "stopped"
    OVERRUN = "overrun"
    DISABLED = "disabled"
    ENABLED = "enabled"
    DISABLE_REMOVED = "disable removed"
    """A source does not disable the lock any more, but another one does."""
    STEP_DOWN_REQUESTED = "step-down asked"


class LostPolicy(StrEnum):
    """What happens if ``stop`` has not returned by the end of the lease: log it, or end the process."""

    STOP = "stop"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of an instance. ``instance`` is unique to each start; the rest says where it runs."""

    instance: str
    address: str = ""
    pod: str = ""
    pod_uid: str = ""
    node: str = ""
    container: str = ""
    container_id: str = ""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to be opened. Its id is never used twice."""

    id: str
    identity: Identity
    lease_ms: int


@dataclass(frozen=True, slots=True)
class Incarnation:
    """The history of commits that the database is in. A promoted replica begins another one.

    ``name`` is the server's own, and ``since_ms`` the time at which it was first written, in epoch milliseconds by
    the database's clock: both together are never used again.
    """

    name: str = ""
    since_ms: int = 0
    lease_ms: int = 0
    """The longest lease of the sessions that the database had then."""
    is_quarantined: bool = False
    """Whether nothing may be claimed yet, because a master whose claim was lost may still run."""

    @property
    def reason(self) -> str:
        """Why nothing is claimed in the quarantine, and about until when: the clocks of the instances count."""
        since, until = (
            datetime.fromtimestamp(ms // 1000, UTC).isoformat().replace("+00:00", "Z")
            for ms in (self.since_ms, self.since_ms + self.lease_ms + 999)
        )
        return f"the database was promoted at {since}: no instance claims a lock before {until}"

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from all others."""
        return self.name, self.since_ms

    def is_same(self, other: "Incarnation | None") -> bool:
        """Return whether both are the same history."""
        return other is not None and self.key == other.key


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as read from the database; ``age_ms`` is the age of its last heartbeat by the database's clock."""

    id: str
    instance: str
    beat: int
    age_ms: int
    lease_ms: int


@dataclass(frozen=True, slots=True)
class SessionList:
    """All sessions, and the database's clock at that moment in epoch milliseconds."""

    clock_ms: int
    sessions: tuple[SessionRow, ...]
    incarnation: Incarnation = Incarnation()


@dataclass(frozen=True, slots=True, order=True)
class Term:
    """One period of mastership: the lock, and a number that grows with every term."""

    lock_name: str
    number: int


@dataclass(frozen=True, slots=True)
class StopRequest:
    """A request to end a held term; ``reason`` reads as the end of a sentence."""

    term: Term
    reason: str
    is_step_down: bool
    """Whether the term was asked to step down (then its instance pauses); otherwise its lock was disabled."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What the sessions of one instance hold, in short, to be compared with every heartbeat."""

    count: int
    term_sum: int
    stop_requests: tuple[StopRequest, ...] = ()
    incarnation: Incarnation = field(default=Incarnation(), compare=False)
    """The database that has it."""

    @classmethod
    def of(cls, terms: Iterable[Term]) -> "Inventory":
        """Return the inventory of these terms."""
        numbers = [term.number for term in terms]
        return cls(len(numbers), sum(numbers))

    def matches(self, other: "Inventory") -> bool:
        """Return whether both have the same terms, judged by count and sum."""
        return (self.count, self.term_sum) == (other.count, other.term_sum)


@dataclass(frozen=True, slots=True)
class HeldTerm:
    """A term, and the session that holds it."""

    term: Term
    session_id: str


@dataclass(frozen=True, slots=True)
class Vacancies:
    """The locks that are enabled and free, and what a fair share is computed from."""

    lock_names: tuple[str, ...]
    enabled_count: int
    live_instances: int
    next_enable_ms: int | None
    """Milliseconds until the next timed disable ends; None if there is none."""
    lock_count: int
    """How many locks have a row. Fewer than before means that a failed database lost rows."""
    disabled_names: frozenset[str] = frozenset()
    """The locks that are disabled, for people; a claim decides by itself."""
    forgotten_count: int = 0
    """How many locks were ever forgotten. Another number than before means that rows are gone."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """An entry of the history. ``reason`` is a sentence, the same as in the log.

    ``happened_at`` is on the local clock (`masterjob.concurrency.clock`); the store places it on the database's.
    None: when it is written.
    """

    lock_name: str
    term: int | None
    kind: TransitionKind
    reason: str
    instance: str | None = None
    actor: str | None = None
    happened_at: float | None = None
