"""A world at one moment: processes, a database, and notices on their way.

Worlds never change: a move makes a new one.
"""

from dataclasses import dataclass, field, replace

from tests.exploration.database import Database
from tests.exploration.states import ProcessState


@dataclass(frozen=True, slots=True)
class World:
    """A state of everything. ``now`` is also the local clock of every process."""

    now: float
    database: Database
    """Not to be changed: copy it before."""
    processes: tuple[ProcessState, ...]
    notices: tuple[frozenset[str], ...]
    """For each process the locks whose change it has not been told of yet."""
    overdue: dict[tuple[str, int, str], float] = field(default_factory=dict)
    """Since when what I4 and I5 promise to end has lasted without a fault: invariant, process, lock."""

    def with_process(self, index: int, state: ProcessState) -> "World":
        """Return a world with another state of this process."""
        processes = (*self.processes[:index], state, *self.processes[index + 1 :])
        world = replace(self, processes=processes)
        return world if state.is_alive else world.without_notice(index)

    def with_notices(self, lock_names: set[str]) -> "World":
        """Return a world in which a change of these locks has been announced."""
        notices = tuple(
            names | lock_names if process.is_alive else names
            for process, names in zip(self.processes, self.notices, strict=True)
        )
        return replace(self, notices=notices)

    def without_notice(self, index: int) -> "World":
        """Return a world in which the process waits for no notice."""
        return replace(self, notices=(*self.notices[:index], frozenset(), *self.notices[index + 1 :]))
