"""The story of a path: what happened, in sentences with times."""

from collections.abc import Iterable

from tests.exploration.acts import apply
from tests.exploration.database import Violation
from tests.exploration.invariants import checked
from tests.exploration.moves import Move
from tests.exploration.world import World


def story_of(start: World, path: Iterable[Move]) -> list[str]:
    """Return the sentences; the last one says which invariant does not hold, if any."""
    lines: list[str] = []

    def tell(now: float, sentence: str) -> None:
        lines.append(f"{now - start.now:8.3f} s  {sentence}")

    tell(start.now, _describe(start))
    world = start
    try:
        for move in path:
            world = checked(apply(world, move, tell))
    except Violation as violation:
        lines.append(f"violation: {violation}")
    return lines


def _describe(world: World) -> str:
    """Return who is master, and who is not."""
    masters = [
        f"{process.name} is master of {run.term.lock_name}" for process in world.processes for run in process.runs
    ]
    others = [process.name for process in world.processes if not process.runs]
    verb = "waits" if len(others) == 1 else "wait"
    return "; ".join([*masters, *([f"{' and '.join(others)} {verb}"] if others else [])])
