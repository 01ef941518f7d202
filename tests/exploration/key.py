"""When two worlds are the same: if they have equal keys.

Times count from now. Ids are numbered as they are met. Terms and heartbeat counters are replaced by their rank:
only their order decides. Instances that are in the same situation are exchanged to find the smallest key.
"""

from collections.abc import Iterator
from itertools import permutations, product

from tests.exploration.fingerprint import Kind
from tests.exploration.states import CLOCK_STEP, TIMING, ProcessState
from tests.exploration.world import World

_FORGOTTEN = -1
"""A time so long ago that nothing depends on it."""

_OFFSET = 10**9
"""Makes numbers positive: Python gives -1 and -2 the same hash."""

_numbers: dict[tuple[object, ...], int] = {}
"""A number for each shape with its times."""


def key_of(world: World) -> int:
    """Return the key, a number of 64 bits."""
    numbers = [_number_of(state, world) for state in world.processes]
    reader = _Reader(world, numbers)
    keys = [hash(reader.read(order)) for order in _orders(world, numbers)]
    return min(keys)


def _orders(world: World, numbers: list[int]) -> Iterator[tuple[int, ...]]:
    """Yield the orders of the instances to compare: those that sort them by what can be seen of each."""
    if len(set(numbers)) == len(numbers):
        yield tuple(sorted(range(len(numbers)), key=numbers.__getitem__))
        return
    groups: dict[int, list[int]] = {}
    for index, number in enumerate(numbers):
        groups.setdefault(number, []).append(index)
    for parts in product(*(permutations(groups[number]) for number in sorted(groups))):
        yield tuple(index for part in parts for index in part)


# --- times ---


def _number_of(state: ProcessState, world: World) -> int:
    """Return a number that is the same for equal shapes whose times are the same, counted from now."""
    moment = (world.now, world.database.clock_offset)
    number = state.numbers.get(moment)
    if number is None:
        clock = world.database.clock(world.now)
        times = tuple([_relative(kind, value, world.now, clock) for kind, value in state.fingerprint.times])
        number = _numbers.setdefault((state.fingerprint.shape, times), len(_numbers))
        state.numbers[moment] = number
    return number


def _relative(kind: Kind, value: object, now: float, clock: float) -> object:
    match kind, value:
        case Kind.OBSERVATION, (float(sent), float(received), float(observed)):
            if now - sent > TIMING.lease_duration:
                return _FORGOTTEN
            return _microseconds(sent - now), _microseconds(received - now), _microseconds(observed - clock)
        case Kind.DATABASE_MS, int():
            return value - int(clock * 1000) + _OFFSET
        case Kind.DATABASE_TIME, float():
            return _microseconds(value - clock)
        case Kind.TIME, float():
            return _microseconds(value - now)
        case Kind.DEADLINE, float():
            return _microseconds(value - now) if value > now else _FORGOTTEN
    raise AssertionError(f"{kind} is not a time")


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6) + _OFFSET


# --- references ---


class _Reader:
    """Reads a world with its instances in a given order."""

    def __init__(self, world: World, numbers: list[int]) -> None:
        self._world = world
        self._numbers = numbers
        self._term_ranks = _rank_terms(world)
        self._beat_ranks = _rank_beats(world)
        self._ids: dict[str, int] = {}

    def read(self, order: tuple[int, ...]) -> tuple[object, ...]:
        """Return everything that decides the future."""
        world = self._world
        self._ids = {}
        result: list[object] = []
        for index in order:
            result.append(self._numbers[index])
            result.append(tuple(sorted(world.notices[index])))
            tokens, ids = world.processes[index].fingerprint, self._ids
            result += [ids.setdefault(value, len(ids)) for value in tokens.ids]
            result += [self._term_ranks[value] for value in tokens.terms]
            result += [self._beat_ranks[value] for value in tokens.beats]
            result += [self._term_sum(count, total) for count, total in tokens.term_sums]
        result.append(self._read_database())
        result.append(
            tuple(
                sorted(
                    (promise, order.index(index), lock_name, _microseconds(since - world.now))
                    for (promise, index, lock_name), since in world.overdue.items()
                )
            )
        )
        return tuple(result)

    def _id(self, value: str) -> int:
        return self._ids.setdefault(value, len(self._ids))

    def _term_sum(self, count: int, total: int) -> object:
        """Return which terms make up the sum of an inventory."""
        if count == 0:
            return total
        if count == 1:
            return self._term_ranks.get(total, "a term that is forgotten")
        known = [term for term in self._term_ranks if term]
        pairs = ((one, other) for one, other in product(known, known) if one <= other)
        pair = next((pair for pair in pairs if sum(pair) == total), None)
        return tuple(self._term_ranks[term] for term in pair) if pair is not None else "terms that are forgotten"

    def _read_database(self) -> tuple[object, ...]:
        database, now = self._world.database, self._world.now
        clock_ms, ranks = int(database.clock(now) * 1000), self._term_ranks
        oldest = -round(TIMING.lease_duration * 1000) - _possible_step_ms(self._world)
        result: list[object] = [database.clock_offset != 0.0]
        for session_id, session in database.tables.sessions.items():
            result += (
                self._id(session_id),
                self._id(session.instance),
                max(oldest, session.heartbeat_ms - clock_ms) + _OFFSET,
                self._beat_ranks[session_id, session.beat],
                max(oldest, round((database.beat_at.get(session_id, 0.0) - now) * 1000)) + _OFFSET,
            )
        for name, lock in database.tables.locks.items():
            result += (
                name,
                lock.enabled,
                self._id(lock.holder or ""),
                ranks[lock.term],
                ranks[lock.step_down_term or 0],
                ranks[database.tables.guarded_writes.get(name, 0)],
            )
        return tuple(result)


def _rank_terms(world: World) -> dict[int, object]:
    """Return what stands for each term: its rank, and by how much it is, or can be, ahead of the clock."""
    tables = world.database.tables
    terms = {0, *tables.guarded_writes.values()}
    for state in world.processes:
        terms.update(state.fingerprint.terms)
    for row in tables.locks.values():
        terms |= {row.term, row.step_down_term or 0}
    clock_ms = int(world.database.clock(world.now) * 1000)
    earliest = clock_ms - _possible_step_ms(world)
    return {term: (rank, max(0, term - earliest)) for rank, term in enumerate(sorted(terms))}


def _possible_step_ms(world: World) -> int:
    """Return by how much the database's clock may still be stepped back: that makes an old time a new one."""
    return 0 if world.database.clock_offset else round(CLOCK_STEP * 1000)


def _rank_beats(world: World) -> dict[tuple[str, int], int]:
    """Return the rank of each beat among those of its session that are known somewhere."""
    beats = {(session_id, row.beat) for session_id, row in world.database.tables.sessions.items()}
    for state in world.processes:
        beats.update(state.fingerprint.beats)
    ranks: dict[tuple[str, int], int] = {}
    last_id, rank = "", 0
    for session_id, beat in sorted(beats):
        rank = rank + 1 if session_id == last_id else 0
        ranks[session_id, beat], last_id = rank, session_id
    return ranks
