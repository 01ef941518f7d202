"""Small bounds of the exploration, planted bugs that it finds, and a check of what it merges."""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.exploration.acts import apply
from tests.exploration.bugs import BUGS, Bug
from tests.exploration.invariants import checked
from tests.exploration.key import key_of
from tests.exploration.moves import FAULTS, Grain, Verb, moves
from tests.exploration.search import Bounds, Result, Search
from tests.exploration.start import booting, settled
from tests.exploration.story import story_of
from tests.exploration.world import World


def explore(start: World, bounds: Bounds) -> Result:
    result = Search(start, bounds).run()
    if result.violation:
        pytest.fail("\n".join(story_of(start, result.path)))
    return result


@pytest.mark.parametrize("grain", Grain)
@pytest.mark.parametrize("stagger", [0.0, 1.0], ids=["together", "one after the other"])
def test_without_a_fault_every_state_is_known_and_an_instance_stays_master(stagger: float, grain: Grain) -> None:
    result = explore(settled(2, 1, stagger), Bounds(depth=100, faults=0, grain=grain))
    assert result.is_complete
    assert Verb.RETURN not in result.verbs


@pytest.mark.parametrize(
    ("start", "bounds"),
    [
        (lambda: settled(2, 1, 1.0), Bounds(depth=14, faults=1)),
        (lambda: settled(2, 1, 0.0), Bounds(depth=8, faults=1)),
        (lambda: settled(2, 1, 1.0), Bounds(depth=7, faults=1, grain=Grain.FINE)),
        (lambda: settled(2, 1, 1.0), Bounds(depth=5, faults=2)),
        (lambda: settled(3, 2, 1.0), Bounds(depth=6, faults=1)),
        (lambda: booting(2, 1), Bounds(depth=7, faults=1)),
    ],
    ids=[
        "one fault",
        "one fault while all act at the same time",
        "one fault in every place of a call",
        "two faults",
        "three instances and two locks",
        "instances that start",
    ],
)
def test_no_invariant_breaks_in_a_small_world(start: Callable[[], World], bounds: Bounds) -> None:
    result = explore(start(), bounds)
    assert result.states > 500


def test_every_takeover_after_a_fault_is_explored_to_its_end() -> None:
    """A master that is killed or cut off for ever: the whole way to the next master, without a bound."""
    kinds = frozenset({Verb.KILL, Verb.SHUT_DOWN})
    result = explore(settled(2, 1, 1.0), Bounds(depth=1000, faults=1, kinds=kinds))
    assert result.is_complete


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    with bug.planted():
        start = bug.start()
        result = Search(start, bug.bounds).run()
        assert result.violation.startswith(bug.invariant)
        assert story_of(start, result.path)[-1] == f"violation: {result.violation}"


def test_merged_states_have_the_same_future() -> None:
    """For worlds with equal keys, what can happen next leads to the same keys again."""
    kinds = frozenset({Verb.CUT, Verb.HOLD_BACK, Verb.FREEZE, Verb.DISABLE, Verb.STEP_BACK})
    merges = 0
    start = settled(2, 1, 1.0)
    known, frontier = {key_of(start): start}, [(start, 0)]
    for _ in range(13):
        following = []
        for world, faults in frontier:
            for move in moves(world, kinds if not faults else frozenset()):
                successor = checked(apply(world, move))
                other = known.setdefault(key_of(successor), successor)
                if other is successor:
                    following.append((successor, faults + (move.verb in FAULTS)))
                elif other.now != successor.now:
                    merges += 1
                    assert futures(other) == futures(successor)
        frontier = following
    assert merges > 10


def futures(world: World) -> Counter[int]:
    return Counter(key_of(checked(apply(world, move))) for move in moves(world, FAULTS))
