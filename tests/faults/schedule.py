"""From a seed to a list of faults: pure, so that a seed always gives the same list.

The effect of a fault still depends on who is master when it begins: ``target`` is the index of a worker, or the
master.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.faults.checker import Guarantees

MASTER_TARGET = -1
DATABASE_TARGET = -2
LOCK_TARGET = -3


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault from ``starts_at`` for ``duration``, in seconds; a target has only one at a time."""

    starts_at: float
    duration: float
    kind: str
    target: int
    every_nth: int = 1
    delay: float = 0.0

    def __str__(self) -> str:
        target = {MASTER_TARGET: "the master", DATABASE_TARGET: "the database", LOCK_TARGET: "the lock"}.get(
            self.target, f"worker {self.target + 1}"
        )
        more = f", every {self.every_nth}. connection" if self.every_nth > 1 else ""
        late = f", {1000 * self.delay:.0f} ms" if self.delay else ""
        return f"{self.kind} of {target} for {self.duration:.1f} s{more}{late}"


WORKER_FAULTS = {"kill": 3, "end": 3, "pause": 4, "drop": 2, "delay": 2, "swallow": 3, "mute": 2}
DATABASE_FAULTS = {"fast": 1, "immediate": 1, "freeze": 1, "freeze connections": 1}
LOCK_FAULTS = {"disable": 1}
NETWORK_FAULTS = frozenset({"drop", "delay", "swallow", "mute"})


def schedule(seed: int, seconds: float, workers: int, guarantees: Guarantees) -> list[Fault]:
    """Return all faults of a run. Some overlap; some gaps are long enough for the checker to expect a master."""
    rng = Random(seed)
    faults: list[Fault] = []
    at = guarantees.max_gap
    while at < seconds - 2 * guarantees.max_gap:
        faults.append(_random_fault(rng, at, workers, guarantees))
        at += rng.choice((rng.uniform(0.1, 2.0), rng.uniform(2.0, 6.0), rng.uniform(8.0, 12.0)))
    return faults


def _random_fault(rng: Random, at: float, workers: int, guarantees: Guarantees) -> Fault:
    duration = _random_duration(rng, guarantees)
    make_fault: Callable[[], Fault] = rng.choices(
        (
            lambda: Fault(at, duration, _weighted_choice(rng, DATABASE_FAULTS), DATABASE_TARGET),
            lambda: Fault(at, duration, _weighted_choice(rng, LOCK_FAULTS), LOCK_TARGET),
            lambda: _worker_fault(rng, at, duration, workers),
        ),
        weights=(1, 1, 8),
    )[0]
    return make_fault()


def _worker_fault(rng: Random, at: float, duration: float, workers: int) -> Fault:
    kind = _weighted_choice(rng, WORKER_FAULTS)
    target = MASTER_TARGET if rng.random() < 0.6 else rng.randrange(workers)
    every_nth = rng.choice((1, 1, 2, 3)) if kind in NETWORK_FAULTS else 1
    delay = rng.choice((0.02, 0.1, 0.4)) if kind == "delay" else 0.0
    return Fault(at, duration, kind, target, every_nth, delay)


def _random_duration(rng: Random, guarantees: Guarantees) -> float:
    """Return a duration near a limit of the protocol: the margin, the trust, the lease, or beyond."""
    limit = rng.choice(
        (guarantees.margin, guarantees.lease - guarantees.margin, guarantees.lease, 2 * guarantees.lease)
    )
    return limit * rng.uniform(0.6, 1.4)


def _weighted_choice(rng: Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), weights=list(weights.values()))[0]
