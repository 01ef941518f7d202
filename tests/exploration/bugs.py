"""Planted bugs, each with the faults that reveal it: the exploration finds it within seconds."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.exploration.moves import Verb
from tests.exploration.search import Bounds
from tests.exploration.start import booting, settled
from tests.exploration.world import World
from tests.simulation.mutants.catalog import MUTANTS

_MUTANT_BY_SENTENCE = {mutant.sentence: mutant for mutant in MUTANTS}


@dataclass(frozen=True)
class Bug:
    """A planted bug of `tests.simulation.mutants`, the invariant that it breaks, and the bounds that show it."""

    sentence: str
    invariant: str
    bounds: Bounds
    start: Callable[[], World] = lambda: settled(2, 1, 1.0)

    @property
    def name(self) -> str:
        """The name of the mutant."""
        return _MUTANT_BY_SENTENCE[self.sentence].name

    def planted(self) -> AbstractContextManager[None]:
        """Replace the code."""
        return _MUTANT_BY_SENTENCE[self.sentence].planted()


def _bounds(faults: int, *kinds: Verb) -> Bounds:
    return Bounds(depth=40, faults=faults, kinds=frozenset(kinds))


BUGS = (
    Bug("there is no margin", "I1", _bounds(2, Verb.CUT, Verb.SLOW_STOP)),
    Bug("jobs go on when their trust ends", "I1", _bounds(1, Verb.CUT)),
    Bug("a renewal without an answer counts as a success", "I1", _bounds(1, Verb.CUT)),
    Bug("a session is dead after standing still for nine tenths of its lease", "I1", _bounds(1, Verb.CUT)),
    Bug("an eviction goes by the database's clock alone", "I1", _bounds(1, Verb.STEP_FORWARD)),
    Bug("an age is believed though the database's clock has stepped", "I1", _bounds(1, Verb.STEP_FORWARD)),
    Bug("a claim takes a lock that another session holds", "I1", _bounds(0), lambda: booting(2, 1)),
    Bug(
        "a new term is the database's time",
        "I2",
        _bounds(2, Verb.STEP_BACK, Verb.STEP_DOWN),
        lambda: settled(2, 1, 1.0, heartbeats=2),
    ),
    Bug("a claim ignores that the lock is disabled", "I4", _bounds(1, Verb.DISABLE), lambda: booting(2, 1)),
    Bug("the guard lets every term write", "I2", _bounds(1, Verb.FREEZE)),
    Bug("a lock is released before its stop has returned", "I1", _bounds(2, Verb.STEP_DOWN, Verb.SLOW_STOP)),
    Bug("a disable is not shown to the master", "I4", _bounds(1, Verb.DISABLE)),
)
