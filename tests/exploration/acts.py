"""What follows from a move."""

from collections.abc import Callable
from dataclasses import replace

from masterjob.election.core.commands import COMMAND_TIMEOUT
from masterjob.election.core.events import LocksChanged, Tick
from masterjob.election.core.session import NEVER
from masterjob.election.values import Term
from tests.exploration.database import CheckedStore, Violation
from tests.exploration.moves import PROMPT, Move, Verb, moves, next_time
from tests.exploration.process import Link, Process, Stage
from tests.exploration.sentences import call_sentence, execution_sentence, move_sentence
from tests.exploration.states import CLOCK_STEP, CallSummary, ProcessState
from tests.exploration.world import World

RETRIES = COMMAND_TIMEOUT + 2.0
"""Seconds after a failed call until it has been retried: it waits as long as the call took, or a moment."""

Teller = Callable[[float, str], None]
"""Gets the time and a sentence."""


def apply(world: World, move: Move, tell: Teller | None = None) -> World:
    """Return the world after the move; ``tell`` gets a sentence for each thing that happens."""
    return _APPLIERS.get(move.verb, _let_process_act)(world, move, tell)


# --- time ---


def _advance(world: World, _move: Move, _tell: Teller | None) -> World:
    return replace(world, now=next_time(world))


def _advance_to_tick(world: World, _move: Move, tell: Teller | None) -> World:
    """Let time pass until something happens; handle the timer that ends, unless there is a choice."""
    while (time := next_time(world)) < NEVER:
        world = replace(world, now=time)
        prompt = [move for move in moves(world) if move.verb in PROMPT]
        if not prompt or any(move.verb is not Verb.TICK for move in prompt):
            break
        for move in prompt:
            following = _after_quiet_tick(world, move)
            if following is None:
                return _let_process_act(world, move, tell) if len(prompt) == 1 else world
            world = following
    return world


def _after_quiet_tick(world: World, move: Move) -> World | None:
    """Return the world after an elector has only looked at the clock, as it does while it waits for an answer.

    None if it does anything else.
    """
    told: list[str] = []
    following = _let_process_act(world, move, lambda _, sentence: told.append(sentence))
    before, after = world.processes[move.process], following.processes[move.process]
    is_same = after.runs == before.runs and _stages(after) == _stages(before)
    return following if is_same and not told else None


def _stages(state: ProcessState) -> list[tuple[object, Stage]]:
    return [(call.place, call.stage) for call in state.calls]


# --- the database ---


_SECOND_PARTS = {
    Verb.ANSWER: Verb.DELIVER,
    Verb.HOLD_BACK_ANSWER: Verb.HOLD_BACK,
    Verb.FAIL_EXECUTED: Verb.FAIL,
}
"""What follows the execution of a call."""


def _switch(world: World, move: Move, tell: Teller | None) -> World:
    name, database = str(move.place), world.database.copy()
    store = CheckedStore(database, world.now)
    if move.verb is Verb.STEP_DOWN:
        row = database.tables.locks[name]
        store.request_step_down(Term(name, row.term), "somebody", "asked to step down")
    elif move.verb is Verb.DISABLE:
        store.memory.disable(name)
    else:
        store.memory.enable(name)
    _tell(world, tell, move_sentence, move, name)
    return replace(world, database=database).with_notices(store.changed)


def _answer(world: World, move: Move, tell: Teller | None) -> World:
    """Let the database execute a call; then let the answer arrive, be held back or be lost."""
    return _let_process_act(_execute(world, move, tell), replace(move, verb=_SECOND_PARTS[move.verb]), tell)


def _lose_notice(world: World, move: Move, tell: Teller | None) -> World:
    _tell(world, tell, move_sentence, move, world.processes[move.process].name)
    return world.without_notice(move.process)


def _step_clock(world: World, move: Move, tell: Teller | None) -> World:
    database = world.database.copy()
    database.clock_offset = CLOCK_STEP if move.verb is Verb.STEP_FORWARD else -CLOCK_STEP
    _tell(world, tell, move_sentence, move, "")
    return replace(world, database=database)


def _execute(world: World, move: Move, tell: Teller | None) -> World:
    state, database = world.processes[move.process], world.database.copy()
    call = call_at(state, move)
    store = CheckedStore(database, world.now)
    try:
        answer = call.command.execute(store)
    except Violation as violation:
        _tell(world, tell, execution_sentence, state.name, call, violation)
        raise
    _tell(world, tell, execution_sentence, state.name, call, answer)

    def receive(process: Process) -> None:
        process.on_executed(move.place, answer)

    outcome = state.after(receive, world.now, (move.verb, move.place, answer))
    world = replace(world, database=database).with_notices(store.changed)
    return world.with_process(move.process, outcome.state)


def _tell(world: World, tell: Teller | None, sentence: Callable[..., str], *args: object) -> None:
    """Tell a sentence, which is not made if nobody listens."""
    if tell is not None:
        tell(world.now, sentence(*args))


# --- a process ---


def _let_process_act(world: World, move: Move, tell: Teller | None) -> World:
    state, names = world.processes[move.process], frozenset[str]()
    if move.verb is Verb.NOTIFY:
        names, world = world.notices[move.process], world.without_notice(move.process)
    outcome = state.after(
        lambda process: _act(process, move, names, world.now), world.now, (move.verb, move.place, names)
    )
    if tell is not None:
        for sentence in filter(None, (_sentence(state, move), *outcome.sentences)):
            tell(world.now, sentence)
    world = world.with_process(move.process, outcome.state)
    needs_retry = outcome.has_abandoned or move.verb is Verb.FAIL
    return _excuse_delays(world, move.process) if needs_retry else world


def _act(process: Process, move: Move, names: frozenset[str], now: float) -> None:
    place, index = str(move.place), move.place if isinstance(move.place, int) else 0
    match move.verb:
        case Verb.NOTIFY:
            process.step(LocksChanged(names), now)
        case Verb.DROP_STRAY:
            del process.strays[index]
        case Verb.DELIVER_STRAY:
            process.deliver_stray(index, now)
        case Verb.HOLD_BACK:
            process.connections[place][0].is_held_back = True
        case Verb.SLOW_STOP:
            process.runs[place].stop_is_slow = True
        case _:
            _ACTS[move.verb](process, place, now)


_ACTS: dict[Verb, Callable[[Process, str, float], None]] = {
    Verb.TICK: lambda process, _, now: process.step(Tick(), now),
    Verb.DELIVER: Process.deliver,
    Verb.FAIL: Process.fail,
    Verb.RETURN: Process.return_from_stop,
    Verb.SHUT_DOWN: lambda process, _, now: process.shut_down(now),
    Verb.FREEZE: lambda process, _, now: process.freeze(now),
    Verb.THAW: lambda process, _, now: process.resume(now),
    Verb.CUT: lambda process, *_: process.set_link(Link.CUT),
    Verb.DEAFEN: lambda process, *_: process.set_link(Link.DEAF),
    Verb.HEAL: lambda process, *_: process.set_link(Link.UP),
    Verb.KILL: lambda process, *_: process.die(),
}


def _sentence(state: ProcessState, move: Move) -> str:
    if move.verb in (Verb.DELIVER_STRAY, Verb.FAIL, Verb.HOLD_BACK, Verb.DROP_STRAY):
        return call_sentence(state.name, call_at(state, move), move.verb)
    return move_sentence(move, state.name)


def _excuse_delays(world: World, index: int) -> World:
    """Begin the time that I4 and I5 allow again, since the process has something to retry."""
    overdue = {
        key: max(since, world.now + RETRIES) if key[1] == index else since for key, since in world.overdue.items()
    }
    return replace(world, overdue=overdue)


def call_at(state: ProcessState, move: Move) -> CallSummary:
    """Return the call that the move is about."""
    if isinstance(move.place, int):
        return state.strays[move.place]
    return next(call for call in state.calls if call.place == move.place)


_APPLIERS: dict[Verb, Callable[[World, Move, Teller | None], World]] = {
    Verb.ADVANCE: _advance,
    Verb.ADVANCE_TO_TICK: _advance_to_tick,
    Verb.ANSWER: _answer,
    Verb.HOLD_BACK_ANSWER: _answer,
    Verb.FAIL_EXECUTED: _answer,
    Verb.EXECUTE: _execute,
    Verb.EXECUTE_STRAY: _execute,
    Verb.DISABLE: _switch,
    Verb.ENABLE: _switch,
    Verb.STEP_DOWN: _switch,
    Verb.STEP_FORWARD: _step_clock,
    Verb.STEP_BACK: _step_clock,
    Verb.LOSE_NOTICE: _lose_notice,
}
"""All other moves concern one process alone."""
