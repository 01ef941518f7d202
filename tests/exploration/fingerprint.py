"""What decides the future of a process, as a hashable value: found by a walk over all that it refers to.

The walk visits every attribute, every item and every value that a function has captured, so that a new field of
the elector cannot be forgotten. It separates the *shape*, which is compared as it is, from the *tokens*: times,
ids, terms and heartbeat counters, whose absolute values do not matter. What a number is follows from its size,
since the clocks begin at large numbers (`clocks`).

What is left out decides nothing: texts for people, and how long ago something was due that is still due. Each rule
is a line below; a test checks that merged states have the same successors.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from types import FunctionType, MethodType
from typing import Any

from masterjob.election.core.liveness import _Observation
from masterjob.election.core.state import ElectorState
from masterjob.election.timing import Timing
from masterjob.election.values import Inventory, SessionRow, Term
from tests.exploration.process import Process
from tests.exploration.snapshots import register_function

_SMALLEST_TIME = 1e5
_SMALLEST_RUNNING_TIME = 1e7
_SMALLEST_DATABASE_TIME = 1e9
_SMALLEST_MILLISECONDS = 10**12

_TEXTS = frozenset({"explanation", "reason"})
_COUNTERS_OF_IDS = frozenset({"last_id"})
_IGNORED = _TEXTS | _COUNTERS_OF_IDS | {"rng"}
_DEADLINES = frozenset({"since", "ready_times", "first_seen"})
"""Beside all names that end like those in `_is_deadline`."""


class Kind(Enum):
    """What a token is."""

    TIME = 0
    """A local time."""
    DEADLINE = 1
    """A local time that does not matter any more when it has passed."""
    OBSERVATION = 2
    """When the sessions were last listed: sent, received, and the database's clock."""
    DATABASE_TIME = 3
    DATABASE_MS = 4
    TERM_SUM = 5
    BEAT = 6
    ID = 7


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The shape of a process, and its tokens of each kind in the order of the walk."""

    shape: int
    times: tuple[tuple[Kind, object], ...]
    terms: tuple[int, ...]
    term_sums: tuple[tuple[int, int], ...]
    """How many terms, and their sum."""
    beats: tuple[tuple[str, int], ...]
    """A session and its counter."""
    ids: tuple[str, ...]


_shapes: dict[tuple[object, ...], int] = {}
_attributes: dict[type, tuple[str, ...]] = {}


def fingerprint(process: Process, instances: frozenset[str]) -> Fingerprint:
    """Return the fingerprint of a process; ``instances`` are the names of all processes."""
    walk = _Walk(process.elector._state, instances)
    walk.visit(process)
    return walk.result()


def _is_deadline(name: str) -> bool:
    return name.endswith(("_at", "_until")) or name in _DEADLINES


def _attributes_of(kind: type) -> tuple[str, ...]:
    names = _attributes.get(kind)
    if names is None:
        names = _attributes[kind] = tuple(field.name for field in fields(kind) if field.name not in _IGNORED)
    return names


class _Walk:
    def __init__(self, state: ElectorState, instances: frozenset[str]) -> None:
        self._instances = instances
        self._running_time = state.running_time
        self._in_flight = state._in_flight
        self._oldest_sent = min((command.sent for command in state._in_flight), default=float("inf"))
        self._seen: dict[int, int] = {}
        self.shape: list[object] = []
        self._times: list[tuple[Kind, object]] = []
        self._terms: list[int] = []
        self._term_sums: list[tuple[int, int]] = []
        self._beats: list[tuple[str, int]] = []
        self._ids: list[str] = []

    def result(self) -> Fingerprint:
        """Return what the walk has found."""
        shape = tuple(self.shape)
        return Fingerprint(
            _shapes.setdefault(shape, len(_shapes)),
            tuple(self._times),
            tuple(self._terms),
            tuple(self._term_sums),
            tuple(self._beats),
            tuple(self._ids),
        )

    def visit(self, value: Any, name: str = "") -> None:
        """Add the value, which is the attribute ``name`` of its owner."""
        visitor = _VISITORS.get(type(value))
        if visitor is not None:
            visitor(self, value, name)
        elif isinstance(value, Enum):
            self.shape.append(value.name)
        else:
            self._visit_object(value)

    def _visit_constant(self, value: Any, _name: str) -> None:
        self.shape.append(value)

    def _visit_int(self, value: int, _name: str) -> None:
        if value >= _SMALLEST_MILLISECONDS:
            self._add_time(Kind.DATABASE_MS, value)
        else:
            self.shape.append(value)

    def _visit_sequence(self, value: Any, name: str) -> None:
        self.shape.append(len(value))
        for item in value:
            self.visit(item, name)

    def _visit_mapping(self, value: Any, _name: str) -> None:
        self.shape.append(len(value))
        for key, item in value.items():
            self.visit(key)
            self.visit(item)

    def _visit_set(self, value: Any, name: str) -> None:
        self._visit_sequence(sorted(value), name)

    def _add_time(self, kind: Kind, value: object) -> None:
        self.shape.append(kind.value)
        self._times.append((kind, value))

    def _visit_float(self, value: float, name: str) -> None:
        if not _SMALLEST_TIME < value < float("inf"):
            self.shape.append(value)
        elif value > _SMALLEST_DATABASE_TIME:
            self._add_time(Kind.DATABASE_TIME, value)
        elif value > _SMALLEST_RUNNING_TIME:
            self.shape.append(round((value - self._running_time) * 1e6))
        elif name == "now":
            # When the clock was read last matters while a call is in flight: a long gap since then is a freeze.
            self._add_time(Kind.TIME if self._in_flight else Kind.DEADLINE, value)
        elif name == "changed_at":
            # It is compared with when a command was sent, so it matters only if one of those in flight is older.
            if value < self._oldest_sent:
                self.shape.append("old")
            else:
                self._add_time(Kind.TIME, value)
        else:
            self._add_time(Kind.DEADLINE if _is_deadline(name) else Kind.TIME, value)

    def _visit_text(self, value: str, _name: str) -> None:
        if value in self._instances or value.partition("/")[0] in self._instances:
            self.shape.append(Kind.ID.value)
            self._ids.append(value)
        else:
            self.shape.append(value)

    # --- values with a meaning of their own ---

    def _visit_timing(self, timing: Timing, _name: str) -> None:
        self.shape.append(repr(timing))

    def _visit_term(self, term: Term, _name: str) -> None:
        self.shape.append(term.lock_name)
        self._terms.append(term.number)

    def _visit_inventory(self, inventory: Inventory, _name: str) -> None:
        self.shape.append(Kind.TERM_SUM.value)
        self._term_sums.append((inventory.count, inventory.term_sum))
        self.visit(inventory.stop_requests)

    def _visit_row(self, row: SessionRow, _name: str) -> None:
        self.visit(row.id)
        self._beats.append((row.id, row.beat))
        self.shape += (Kind.BEAT.value, row.lease_ms, row.age_ms)

    def _visit_observation(self, observation: _Observation, _name: str) -> None:
        self._add_time(Kind.OBSERVATION, (observation.sent, observation.received, observation.clock))

    def _visit_function(self, function: FunctionType, _name: str) -> None:
        self.shape.append(register_function(function))
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self.visit(cell.cell_contents, name)

    def _visit_method(self, method: MethodType, _name: str) -> None:
        self.shape.append(method.__name__)
        self.visit(method.__self__)

    # --- all other objects ---

    def _visit_object(self, value: object) -> None:
        if id(value) in self._seen:
            self.shape.append(("again", self._seen[id(value)]))
            return
        self._seen[id(value)] = len(self._seen)
        kind = type(value)
        self.shape.append(kind.__name__)
        if is_dataclass(kind):
            for name in _attributes_of(kind):
                if name != "sent" or value in self._in_flight:  # else nothing depends on when it was sent
                    self.visit(getattr(value, name), name)
        else:
            for name, item in vars(value).items():
                if name not in _IGNORED:
                    self.shape.append(name)
                    self.visit(item, name)


_VISITORS: dict[type, Callable[[_Walk, Any, str], None]] = {
    float: _Walk._visit_float,
    str: _Walk._visit_text,
    int: _Walk._visit_int,
    bool: _Walk._visit_constant,
    type(None): _Walk._visit_constant,
    tuple: _Walk._visit_sequence,
    list: _Walk._visit_sequence,
    deque: _Walk._visit_sequence,
    dict: _Walk._visit_mapping,
    Counter: _Walk._visit_mapping,
    set: _Walk._visit_set,
    frozenset: _Walk._visit_set,
    Timing: _Walk._visit_timing,
    Term: _Walk._visit_term,
    Inventory: _Walk._visit_inventory,
    SessionRow: _Walk._visit_row,
    _Observation: _Walk._visit_observation,
    FunctionType: _Walk._visit_function,
    MethodType: _Walk._visit_method,
}
