"""What must hold in every state (docs/design.md, section 7), beside what `CheckedStore` checks at each statement.

I1 and I2 are about single states. I4 and I5 promise that something ends in time: since when it has lasted is a
part of the state, and is reset while a fault hinders the process.
"""

from collections.abc import Iterator
from dataclasses import replace

from tests.exploration.database import CheckedStore, Violation
from tests.exploration.states import TIMING, ProcessState, RunSummary
from tests.exploration.world import World

RECOVERY = 2.0
"""Seconds until a process does again what it should, after a fault has ended (the longest delay of a retry)."""

TOLERANCE = 0.3
"""Seconds for the jitter of claims."""

_BOUNDS = {
    "I4": TIMING.heartbeat_interval + TIMING.stop_timeout + TOLERANCE,
    "I5 run": 2 * TIMING.heartbeat_interval + TIMING.stop_timeout + TOLERANCE,
    "I5 held": 2 * TIMING.heartbeat_interval + 1.0 + TOLERANCE,
}


def checked(world: World) -> World:
    """Return the world with what was written and what is overdue in it.

    Raises:
        Violation: an invariant does not hold.

    """
    _check_exclusion(world)
    return _check_promises(_with_guarded_writes(world))


def _running(world: World) -> Iterator[tuple[int, ProcessState, RunSummary]]:
    for index, process in enumerate(world.processes):
        for run in process.runs:
            yield index, process, run


def _check_exclusion(world: World) -> None:
    masters: dict[str, str] = {}
    for _, process, run in _running(world):
        if process.is_excused(run, world.now):
            continue
        name = f"{process.name} (whose stop has not returned)" if run.is_stopping else process.name
        other = masters.setdefault(run.term.lock_name, name)
        if other != name:
            raise Violation(f"I1: {other} and {name} both run the job of {run.term.lock_name}")


def _with_guarded_writes(world: World) -> World:
    """Let every job that can do so commit a guarded transaction."""
    database = world.database
    store = CheckedStore(database, world.now)
    for _, process, run in _running(world):
        last = database.tables.guarded_writes.get(run.term.lock_name, 0)
        if process.frozen_since is not None or run.term.number == last or not store.can_commit(run.term):
            continue
        if run.term.number < last:
            raise Violation(
                f"I2: a job of {run.term.lock_name} commits in {process.name} after one of a later term"
            )
        if database is world.database:
            database = database.copy()
        database.tables.guarded_writes[run.term.lock_name] = run.term.number
    return world if database is world.database else replace(world, database=database)


def _check_promises(world: World) -> World:
    """Note since when something has lasted that should end; check that it is not too long."""
    overdue = {}
    for key in _unsettled(world):
        since = world.overdue.get(key, world.now)
        if world.processes[key[1]].is_hindered:
            since = world.now + RECOVERY
        if world.now - since > _BOUNDS[key[0]]:
            raise Violation(_complaint(key[0], world.processes[key[1]].name, key[2]))
        overdue[key] = since
    return world if overdue == world.overdue else replace(world, overdue=overdue)


def _unsettled(world: World) -> Iterator[tuple[str, int, str]]:
    """Yield what I4 and I5 promise to end."""
    tables = world.database.tables
    for index, process, run in _running(world):
        name, row = run.term.lock_name, tables.locks[run.term.lock_name]
        if run.is_excused:
            continue
        if not row.enabled:
            yield "I4", index, name
        holder = tables.sessions.get(row.holder or "")
        if row.term != run.term.number or holder is None or holder.instance != process.name:
            yield "I5 run", index, name
    for name, row in tables.locks.items():
        holder = tables.sessions.get(row.holder or "")
        for index, process in enumerate(world.processes):
            is_holder = holder is not None and holder.instance == process.name and process.is_alive
            if is_holder and not any(run.term.lock_name == name for run in process.runs):
                yield "I5 held", index, name


def _complaint(promise: str, name: str, lock_name: str) -> str:
    match promise:
        case "I4":
            return f"I4: {name} still runs the job of {lock_name}, which was disabled long ago"
        case "I5 run":
            return f"I5: {name} still runs the job of {lock_name}, but the database does not name it master"
        case _:
            return f"I5: the database names {name} master of {lock_name}, but it does not run the job"
