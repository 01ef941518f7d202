"""What can happen next in a world.

A *prompt* move is what a healthy world does at once; while there is one, time stands still, and all orders of
these moves are tried. The clock then goes to the next time at which something is due. A *fault* is one of a
limited number. What a fault has begun may end at any time; only a broken network needs another one of that number.

With a coarse grain, a call that nothing disturbs is executed and answered in one move, and so are the end of a
wait and the timer that ends it: so more happens in as many moves. What is lost are the orders in which something
happens exactly between the two. A call whose answer is held back still has them, as a fault.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from masterjob.election.core.session import NEVER
from tests.exploration.process import Link, Stage
from tests.exploration.states import TIMING, ProcessState
from tests.exploration.world import World


class Verb(Enum):
    """What happens."""

    TICK = "the elector's timer ends"
    ANSWER = "the database executes a call, and the answer arrives"
    EXECUTE = "the database executes a call"
    DELIVER = "an answer arrives"
    NOTIFY = "a notification arrives"
    RETURN = "a stop returns"
    EXECUTE_STRAY = "the database executes a call that was given up"
    DELIVER_STRAY = "the answer of a call that was given up arrives"
    DROP_STRAY = "a call that was given up is lost"
    THAW = "a process is resumed"
    ADVANCE = "time passes"
    ADVANCE_TO_TICK = "time passes, and the elector's timer ends"
    HOLD_BACK = "a call or its answer is held back"
    HOLD_BACK_ANSWER = "the database executes a call, and the answer is held back"
    FAIL = "a call fails"
    FAIL_EXECUTED = "the database executes a call, which fails"
    LOSE_NOTICE = "a notification is lost"
    SLOW_STOP = "a stop takes time"
    FREEZE = "a process is frozen"
    CUT = "a process is cut off"
    DEAFEN = "a process gets no answers"
    HEAL = "the network is restored"
    KILL = "a process is killed"
    SHUT_DOWN = "a process is told to end"
    DISABLE = "a lock is disabled"
    ENABLE = "a lock is enabled"
    STEP_DOWN = "a master is asked to step down"
    STEP_FORWARD = "the database's clock is stepped forward"
    STEP_BACK = "the database's clock is stepped back"


PROMPT = frozenset({Verb.TICK, Verb.ANSWER, Verb.EXECUTE, Verb.DELIVER, Verb.NOTIFY, Verb.RETURN})

FAULTS = frozenset(list(Verb)[list(Verb).index(Verb.HOLD_BACK) :])


@dataclass(frozen=True, slots=True)
class Move:
    """Something that happens: to a process, and to one of its connections, calls or locks."""

    verb: Verb
    process: int = -1
    place: str | int = ""


class Grain(Enum):
    """How much happens in one move."""

    FINE = "each step of a call is a move"
    COARSE = "a call that nothing disturbs is one move"


def moves(world: World, faults: frozenset[Verb] = frozenset(), grain: Grain = Grain.COARSE) -> Iterator[Move]:
    """Yield what can happen next; of the faults only these."""
    is_busy = False
    for index, process in enumerate(world.processes):
        for move in _prompt_moves(world, index, process, grain):
            is_busy = True
            yield move
        yield from _endings(world, index, process)
        for move in _faults(world, index, process, grain) if faults and process.is_alive else ():
            if move.verb in faults:
                yield move
    if not is_busy and next_time(world) < NEVER:
        yield Move(Verb.ADVANCE if grain is Grain.FINE else Verb.ADVANCE_TO_TICK)
    for move in _database_faults(world) if faults else ():
        if move.verb in faults:
            yield move


def next_time(world: World) -> float:
    """Return when something is due next."""
    times = []
    for process in world.processes:
        if process.frozen_since is None:
            times += [process.tick_at, *(run.stop_until for run in process.runs if run.is_stopping)]
        else:
            times.append(process.frozen_since + TIMING.stop_timeout)
    return min((time for time in times if time > world.now), default=NEVER)


def _prompt_moves(world: World, index: int, process: ProcessState, grain: Grain) -> Iterator[Move]:
    is_running = process.is_alive and process.frozen_since is None
    is_coarse = grain is Grain.COARSE and is_running and process.link is Link.UP
    for call in process.calls:
        if not call.is_held_back and call.stage is Stage.REQUESTED:
            yield Move(Verb.ANSWER if is_coarse else Verb.EXECUTE, index, call.place)
        elif not call.is_held_back and call.stage is Stage.ANSWERED and is_running:
            yield Move(Verb.DELIVER, index, call.place)
    if is_running and process.tick_at <= world.now:
        yield Move(Verb.TICK, index)
    if is_running and world.notices[index]:
        yield Move(Verb.NOTIFY, index)
    for run in process.runs if is_running else ():
        if run.is_stopping and (not run.stop_is_slow or run.stop_until <= world.now):
            yield Move(Verb.RETURN, index, run.term.lock_name)


def _endings(world: World, index: int, process: ProcessState) -> Iterator[Move]:
    """Yield how what a fault has begun may end: now or later."""
    is_running = process.is_alive and process.frozen_since is None
    yield from _late_calls(index, process, can_receive=is_running and process.link is Link.UP)
    for run in process.runs if is_running else ():
        if run.stop_is_slow and run.stop_until > world.now:
            yield Move(Verb.RETURN, index, run.term.lock_name)
    if process.frozen_since is not None:
        yield Move(Verb.THAW, index)


def _late_calls(index: int, process: ProcessState, *, can_receive: bool) -> Iterator[Move]:
    for call in process.calls:
        if call.is_held_back and call.stage is Stage.REQUESTED:
            yield Move(Verb.EXECUTE, index, call.place)
        elif call.is_held_back and call.stage is Stage.ANSWERED and can_receive:
            yield Move(Verb.DELIVER, index, call.place)
    for stray in process.strays:
        yield Move(Verb.DROP_STRAY, index, stray.place)
        if stray.stage is Stage.REQUESTED:
            yield Move(Verb.EXECUTE_STRAY, index, stray.place)
        elif can_receive:
            yield Move(Verb.DELIVER_STRAY, index, stray.place)


def _faults(world: World, index: int, process: ProcessState, grain: Grain) -> Iterator[Move]:
    yield Move(Verb.KILL, index)
    if not process.is_closing:
        yield Move(Verb.SHUT_DOWN, index)
    if process.frozen_since is None and not process.frozen_for:
        yield Move(Verb.FREEZE, index)
    if process.link is Link.UP:
        yield Move(Verb.CUT, index)
        yield Move(Verb.DEAFEN, index)
    else:
        yield Move(Verb.HEAL, index)
    yield from _call_faults(index, process, grain)
    if world.notices[index]:
        yield Move(Verb.LOSE_NOTICE, index)
    for run in process.runs:
        if run.is_stopping and not run.stop_is_slow:
            yield Move(Verb.SLOW_STOP, index, run.term.lock_name)


def _call_faults(index: int, process: ProcessState, grain: Grain) -> Iterator[Move]:
    is_running = process.frozen_since is None
    for call in process.calls:
        if call.is_held_back or call.stage is Stage.LOST:
            continue
        yield Move(Verb.HOLD_BACK, index, call.place)
        if is_running:
            yield Move(Verb.FAIL, index, call.place)
        if grain is Grain.COARSE and call.stage is Stage.REQUESTED and process.link is Link.UP:
            yield Move(Verb.HOLD_BACK_ANSWER, index, call.place)
            if is_running:
                yield Move(Verb.FAIL_EXECUTED, index, call.place)


def _database_faults(world: World) -> Iterator[Move]:
    for name, row in world.database.tables.locks.items():
        yield Move(Verb.DISABLE if row.enabled else Verb.ENABLE, place=name)
        if row.holder is not None and row.step_down_term is None:
            yield Move(Verb.STEP_DOWN, place=name)
    if not world.database.clock_offset:
        yield Move(Verb.STEP_FORWARD)
        yield Move(Verb.STEP_BACK)
