"""Explores worlds by breadth. Worlds with equal keys are one state.

A state is explored again if a later path reaches it with fewer faults, so the result is exact: everything that can
happen within the given number of moves and faults, and the shortest path to a violation.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.exploration.acts import apply
from tests.exploration.database import Violation
from tests.exploration.invariants import checked
from tests.exploration.key import key_of
from tests.exploration.moves import FAULTS, Grain, Move, Verb, moves
from tests.exploration.world import World


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far to explore."""

    depth: int
    """The largest number of moves."""
    faults: int
    """The largest number of faults."""
    kinds: frozenset[Verb] = FAULTS
    """The faults that are tried."""
    grain: Grain = Grain.COARSE
    states: int = 10**9
    """Stop when so many states are known."""


@dataclass
class Result:
    """What was explored, and the path to the first violation, if any."""

    states: int = 0
    transitions: int = 0
    depth: int = 0
    is_complete: bool = False
    """Whether there is nothing beyond: every state within the number of faults is known."""
    violation: str = ""
    path: tuple[Move, ...] = ()
    verbs: set[Verb] = field(default_factory=set)


@dataclass(slots=True)
class _Entry:
    world: World
    index: int
    faults: int


class Search:
    """One exploration."""

    def __init__(self, start: World, bounds: Bounds, on_level: Callable[[Result], None] | None = None) -> None:
        self._bounds = bounds
        self._on_level = on_level
        self._faults_of: dict[int, int] = {key_of(start): 0}
        self._parents: list[int] = [-1]
        self._moves: list[Move | None] = [None]
        self._frontier = [_Entry(start, 0, 0)]
        self.result = Result(states=1)

    def run(self) -> Result:
        """Explore within the bounds, or until an invariant does not hold."""
        result = self.result
        while self._frontier and result.depth < self._bounds.depth and not result.violation:
            result.depth += 1
            self._explore_level()
            result.states = len(self._faults_of)
            if self._on_level is not None:
                self._on_level(result)
            if result.states >= self._bounds.states:
                return result
        result.is_complete = not self._frontier
        return result

    def _explore_level(self) -> None:
        frontier, self._frontier = self._frontier, []
        for entry in frontier:
            kinds = self._bounds.kinds if entry.faults < self._bounds.faults else frozenset[Verb]()
            for move in moves(entry.world, kinds, self._bounds.grain):
                self.result.transitions += 1
                self.result.verbs.add(move.verb)
                try:
                    world = checked(apply(entry.world, move))
                except Violation as violation:
                    self.result.violation = str(violation)
                    self.result.path = (*self._path_to(entry.index), move)
                    return
                self._reach(world, entry, move)

    def _reach(self, world: World, entry: _Entry, move: Move) -> None:
        faults = entry.faults + (move.verb in FAULTS)
        key = key_of(world)
        if faults >= self._faults_of.get(key, faults + 1):
            return
        self._faults_of[key] = faults
        self._parents.append(entry.index)
        self._moves.append(move)
        self._frontier.append(_Entry(world, len(self._parents) - 1, faults))

    def _path_to(self, index: int) -> tuple[Move, ...]:
        path = []
        while (move := self._moves[index]) is not None:
            path.append(move)
            index = self._parents[index]
        return tuple(reversed(path))
