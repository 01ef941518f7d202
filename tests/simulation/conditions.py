"""The conditions of one seed: how many instances and locks, which timings, how bad network and jobs are."""

from dataclasses import dataclass
from enum import Enum
from random import Random

from masterjob.election.timing import Timing
from masterjob.election.values import LostPolicy

LOCK_NAMES = ("red", "green", "blue", "Grün 'n' \"blau\"", "%s;--", "x" * 20)


class Weather(Enum):
    """*Calm*: everything that mutual exclusion (I1) is promised for. *Wild*: what breaks it, but nothing else."""

    CALM = "calm"
    WILD = "wild"


@dataclass(frozen=True)
class Conditions:
    """What does not change while a seed is simulated."""

    weather: Weather
    fleet: int
    lock_names: tuple[str, ...]
    timings: tuple[Timing, ...]
    lost_policies: dict[str, LostPolicy]
    commands: frozenset[str]
    """The locks whose jobs are commands: under a shim, in processes of their own."""
    loss_rate: float
    slow_rate: float
    max_delay: float
    """The longest delay of a slow message, in seconds."""
    duplicate_rate: float
    """How often a statement is sent twice."""
    half_way_rate: float
    """How often the connection breaks between two statements of one call."""
    clock_spread: float
    """By how much the rates of the instances' clocks differ from that of the database at most."""
    full_stop_rate: float
    """How often a job uses its whole stop timeout."""
    overrun_rate: float
    """How often a job's stop takes longer than its stop timeout."""
    late_start_rate: float
    """How often the thread of a job begins late, or its start takes long."""
    failed_start_rate: float
    """How often the start of a job fails."""
    node_skew: float
    """By how many seconds the clock of a second node of the database differs; 0 if there is one node."""
    absence_rate: float
    """How often an instance takes part in one lock only, until the faults end."""
    fault_duration: float
    fault_rate: float

    @property
    def longest_lease(self) -> float:
        """The longest lease of any timing."""
        return max(timing.lease_duration for timing in self.timings)

    @property
    def longest_heartbeat(self) -> float:
        """The longest heartbeat interval of any timing."""
        return max(timing.heartbeat_interval for timing in self.timings)


def draw(rng: Random, weather: Weather) -> Conditions:
    """Return random conditions."""
    fleet = _draw_fleet(rng)
    names = tuple(rng.sample(LOCK_NAMES, rng.choice((1, 2, 2, 3))))
    perfect = rng.random() < 0.4
    return Conditions(
        weather=weather,
        fleet=fleet,
        lock_names=names,
        timings=tuple(_draw_timing(rng) for _ in range(rng.choice((1, 2, 2, 3)))),
        lost_policies={name: rng.choice((LostPolicy.STOP, LostPolicy.STOP, LostPolicy.EXIT)) for name in names},
        commands=frozenset(name for name in names if rng.random() < 0.25),
        loss_rate=0.0 if perfect else rng.choice((0.0, 0.02, 0.1)),
        slow_rate=0.0 if perfect else rng.choice((0.0, 0.02, 0.05)),
        max_delay=rng.choice((0.1, 1.0, 6.0)),
        duplicate_rate=rng.choice((0.0, 0.0, 0.05)),
        half_way_rate=rng.choice((0.0, 0.0, 0.05)),
        clock_spread=rng.choice((0.0, 0.005, 0.005)),
        full_stop_rate=rng.choice((0.1, 0.5, 0.9)),
        overrun_rate=rng.choice((0.0, 0.0, 0.1)),
        late_start_rate=rng.choice((0.0, 0.1)),
        failed_start_rate=rng.choice((0.0, 0.02, 0.2)),
        node_skew=_draw_skew(rng) if weather is Weather.CALM else 0.0,
        absence_rate=rng.choice((0.0, 0.0, 0.5)),
        fault_duration=20.0 if fleet <= 8 else 8.0,
        fault_rate=rng.choice((0.4, 0.8, 1.5)),
    )


def _draw_skew(rng: Random) -> float:
    """Return more seconds than any lease has: less than a heartbeat interval may go undetected."""
    return rng.choice((-1, 1)) * rng.uniform(8, 30) if rng.random() < 0.25 else 0.0


def _draw_fleet(rng: Random) -> int:
    kind = rng.random()
    if kind < 0.1:
        return 1 if kind < 0.04 else 2
    if kind < 0.7:
        return 3
    if kind < 0.95:
        return 4 if kind < 0.85 else 5
    if kind < 0.985:
        return rng.randrange(6, 12)
    return rng.randrange(12, 51)


def _draw_timing(rng: Random) -> Timing:
    heartbeat = rng.choice((0.5, 0.7, 1.0))
    stop_timeout = rng.choice((0.1, 0.3, 0.5, 1.0, 2.0))
    lease = max(3 * heartbeat, Timing.min_lease_duration(heartbeat, stop_timeout)) + rng.choice(
        (0.0, 0.0, 1.0, 2.0)
    )
    retries = rng.choice((0, 1, 3, 10, 50))
    return Timing(heartbeat, lease, stop_timeout, retries, rng.choice((2.0, 4.0, 8.0)))
