"""From a seed to a list of faults: pure, so that the same seed is always the same list.

What a fault meets still depends on who is master when it comes: ``target`` is a worker's place, or the master.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.faults.checker import Promise

MASTER = -1
DATABASE = -2
LOCK = -3


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that begins at ``at`` seconds and lasts for ``seconds``; on one target only one at a time."""

    at: float
    seconds: float
    kind: str
    target: int
    each: int = 1
    delay: float = 0.0

    def __str__(self) -> str:
        whom = {MASTER: "the master", DATABASE: "the database", LOCK: "the lock"}.get(
            self.target, f"worker {self.target + 1}"
        )
        more = f", every {self.each}. connection" if self.each > 1 else ""
        late = f", {1000 * self.delay:.0f} ms" if self.delay else ""
        return f"{self.kind} of {whom} for {self.seconds:.1f} s{more}{late}"


WORKER_FAULTS = {"kill": 3, "end": 3, "pause": 4, "drop": 2, "delay": 2, "swallow": 3, "mute": 2}
DATABASE_FAULTS = {"fast": 1, "immediate": 1, "freeze": 1, "freeze connections": 1}
LOCK_FAULTS = {"disable": 1}
NETWORK = frozenset({"drop", "delay", "swallow", "mute"})


def schedule(seed: int, seconds: float, workers: int, promise: Promise) -> list[Fault]:
    """Return all faults of a run. They overlap now and then; every so often there is peace for long enough that
    the checker can demand a master."""
    rng = Random(seed)
    faults: list[Fault] = []
    at = promise.gap
    while at < seconds - 2 * promise.gap:
        faults.append(_fault(rng, at, workers, promise))
        at += rng.choice((rng.uniform(0.1, 2.0), rng.uniform(2.0, 6.0), rng.uniform(8.0, 12.0)))
    return faults


def _fault(rng: Random, at: float, workers: int, promise: Promise) -> Fault:
    lasts = _how_long(rng, promise)
    make: Callable[[], Fault] = rng.choices(
        (
            lambda: Fault(at, lasts, _pick(rng, DATABASE_FAULTS), DATABASE),
            lambda: Fault(at, lasts, _pick(rng, LOCK_FAULTS), LOCK),
            lambda: _on_a_worker(rng, at, lasts, workers),
        ),
        weights=(1, 1, 8),
    )[0]
    return make()


def _on_a_worker(rng: Random, at: float, lasts: float, workers: int) -> Fault:
    kind = _pick(rng, WORKER_FAULTS)
    target = MASTER if rng.random() < 0.6 else rng.randrange(workers)
    each = rng.choice((1, 1, 2, 3)) if kind in NETWORK else 1
    delay = rng.choice((0.02, 0.1, 0.4)) if kind == "delay" else 0.0
    return Fault(at, lasts, kind, target, each, delay)


def _how_long(rng: Random, promise: Promise) -> float:
    """Around every limit of the protocol: the margin, the trust, the lease, and well beyond."""
    around = rng.choice((promise.margin, promise.lease - promise.margin, promise.lease, 2 * promise.lease))
    return around * rng.uniform(0.6, 1.4)


def _pick(rng: Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), weights=list(weights.values()))[0]
