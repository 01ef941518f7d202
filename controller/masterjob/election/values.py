"""The words of the design as values: what the election and the database tell each other (design 2, 3.1)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from masterjob.errors import SettingError

MAX_LOCK_NAME_LENGTH = 200
_CONTROL_CHARACTERS = r"\x00-\x1f\x7f\ud800-\udfff"
_LOCK_NAME_PATTERN = re.compile(
    rf"[^\s{_CONTROL_CHARACTERS}](?:[^{_CONTROL_CHARACTERS}]*[^\s{_CONTROL_CHARACTERS}])?"
)


def validate_lock_name(text: object) -> str:
    """Return ``text`` if it can name a lock, on every database alike.

    Raises:
        SettingError: it is not text, empty, over 200 characters, has characters that are not text, or
            begins or ends with white space (which some databases ignore when they compare).

    """
    if not isinstance(text, str) or not text:
        raise SettingError(f"lockName must be a text that is not empty, not {text!r}")
    if len(text) > MAX_LOCK_NAME_LENGTH:
        raise SettingError(f"lockName has {len(text)} characters: {MAX_LOCK_NAME_LENGTH} are the most")
    if not _LOCK_NAME_PATTERN.fullmatch(text):
        raise SettingError(f"lockName {text!r} has white space around it or characters that are not text in it")
    return text


class TransitionKind(StrEnum):
    """What the history tells: one word a transition."""

    ELECTED = "elected"
    STEPPED_DOWN = "stepped down"
    EVICTED = "evicted"
    START_FAILED = "start failed"
    OVERRUN = "overrun"
    DISABLED = "disabled"
    ENABLED = "enabled"
    STEP_DOWN_REQUESTED = "step-down asked"


class LostPolicy(StrEnum):
    """What happens when ``stop`` has not returned by the end of the lease (design 3.4)."""

    STOP = "stop"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an instance is. ``instance`` is new at every start; the rest says where to find it."""

    instance: str
    address: str = ""
    pod: str = ""
    pod_uid: str = ""
    node: str = ""
    container: str = ""
    container_id: str = ""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to be opened; its id was never used before and never will be again."""

    id: str
    identity: Identity
    lease_ms: int


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as a look at the database found it; ``age_ms`` is by the database's clock."""

    id: str
    instance: str
    beat: int
    age_ms: int
    lease_ms: int


@dataclass(frozen=True, slots=True)
class SessionList:
    """All sessions, and the database's clock at that moment, in milliseconds of the epoch."""

    clock_ms: int
    sessions: tuple[SessionRow, ...]


@dataclass(frozen=True, slots=True, order=True)
class Term:
    """One period of mastership: the lock and the number, larger every time (design 2.6, 3.6)."""

    lock_name: str
    number: int


@dataclass(frozen=True, slots=True)
class StopRequest:
    """A held term that its master is asked to give up, and why, as the end of a sentence."""

    term: Term
    reason: str
    is_step_down: bool
    """Whether this term was asked to step down (it then sits out), rather than its lock disabled."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What the sessions of one instance hold, in the short form that each heartbeat compares."""

    count: int
    term_sum: int
    stop_requests: tuple[StopRequest, ...] = ()

    @classmethod
    def of(cls, terms: Iterable[Term]) -> "Inventory":
        """Return the inventory that the database has if it agrees with ``terms``."""
        numbers = [term.number for term in terms]
        return cls(len(numbers), sum(numbers))

    def matches(self, other: "Inventory") -> bool:
        """Tell whether both name the same terms, as far as count and sum can say."""
        return (self.count, self.term_sum) == (other.count, other.term_sum)


@dataclass(frozen=True, slots=True)
class HeldTerm:
    """One line of the inventory in full: a term, and the session that the lock's row points at."""

    term: Term
    session_id: str


@dataclass(frozen=True, slots=True)
class Vacancies:
    """The locks that are enabled and free, and what a fair share is reckoned from."""

    lock_names: tuple[str, ...]
    enabled_count: int
    live_instances: int
    next_enable_ms: int | None
    """Milliseconds until the next timed disable ends; None where there is none."""
    lock_count: int
    """How many locks have a row at all; fewer than before means that rows were lost with a failed database."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of the history. ``reason`` is a sentence, the same as in the log."""

    lock_name: str
    term: int | None
    kind: TransitionKind
    reason: str
    instance: str | None = None
    actor: str | None = None
