"""A long run: carries a schedule out on a stage, and reports every fault, every failover, and the verdict."""

import heapq
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from statistics import median

from masterjob import StoreUnavailable
from tests.faults.checker import failovers, judge
from tests.faults.proxy import Weather
from tests.faults.schedule import DATABASE, LOCK, MASTER, NETWORK, Fault
from tests.faults.server import FaultyPostgreSQL
from tests.faults.stage import PROMISE, Stage, Worker
from tests.faults.story import Story
from tests.faults.worker import now

Tell = Callable[[str], None]


class RandomRun:
    """Whatever a fault begins, its end takes back: a worker that has gone is replaced by a new one."""

    def __init__(self, stage: Stage, workers: int, tell: Tell) -> None:
        self._stage = stage
        self._tell = tell
        self._places = [stage.enter() for _ in range(workers)]
        self._busy: set[int] = set()
        self._ends: list[tuple[float, int, int, AbstractContextManager[None]]] = []
        self._numbers = itertools.count()
        self._began = now()
        self.done: Counter[str] = Counter()

    def play(self, faults: list[Fault], seconds: float) -> Story:
        """Carry out all faults, then return what happened."""
        for fault in faults:
            self._live_until(fault.at)
            self._begin(fault)
        self._live_until(seconds)
        while self._ends:
            self._end_next()
        self._wait(PROMISE.gap)
        return self._stage.whole_story()

    @property
    def _passed(self) -> float:
        return now() - self._began

    def _live_until(self, at: float) -> None:
        while self._ends and self._ends[0][0] <= at:
            self._wait(self._ends[0][0] - self._passed)
            self._end_next()
        self._wait(at - self._passed)

    @staticmethod
    def _wait(seconds: float) -> None:
        threading.Event().wait(max(0.0, seconds))

    def _begin(self, fault: Fault) -> None:
        target = self._target(fault)
        if target is None or target in self._busy or (DATABASE in self._busy and target == LOCK):
            self._tell(f"{self._passed:9.1f}  left out: {fault}")
            return
        lasting = self._carry_out(fault, target)
        lasting.__enter__()
        self.done[fault.kind] += 1
        self._busy.add(target)
        heapq.heappush(self._ends, (self._passed + fault.seconds, next(self._numbers), target, lasting))
        self._tell(f"{self._passed:9.1f}  {fault}" + (f" ({self._places[target].name})" if target >= 0 else ""))

    def _end_next(self) -> None:
        _, _, target, lasting = heapq.heappop(self._ends)
        lasting.__exit__(None, None, None)
        self._busy.discard(target)

    def _target(self, fault: Fault) -> int | None:
        if fault.target != MASTER:
            return fault.target
        master = self._stage.master()
        return self._places.index(master) if master in self._places else None

    def _carry_out(self, fault: Fault, target: int) -> AbstractContextManager[None]:
        if target == DATABASE:
            return _database_fault(self._stage, fault.kind)
        if target == LOCK:
            return _disabled(self._stage)
        worker = self._places[target]
        if fault.kind in NETWORK:
            return _bad_network(self._stage, worker, fault)
        if fault.kind == "pause":
            return _paused(self._stage, worker)
        return self._absent(target, fault.kind)

    @contextmanager
    def _absent(self, target: int, kind: str) -> Iterator[None]:
        worker = self._places[target]
        (self._stage.kill if kind == "kill" else self._stage.terminate)(worker)
        yield
        self._places[target] = self._stage.enter()


@contextmanager
def _paused(stage: Stage, worker: Worker) -> Iterator[None]:
    stage.pause(worker)
    yield
    stage.resume(worker)


@contextmanager
def _bad_network(stage: Stage, worker: Worker, fault: Fault) -> Iterator[None]:
    stage.cut(worker, Weather[fault.kind.upper()], each=fault.each, delay=fault.delay)
    yield
    stage.heal(worker)


@contextmanager
def _disabled(stage: Stage) -> Iterator[None]:
    for switch in (stage.disable, stage.enable):
        while True:
            try:
                switch()
                break
            except StoreUnavailable:  # the database is down, or a frozen writer holds the row for a while
                threading.Event().wait(0.2)
        if switch == stage.disable:
            yield


@contextmanager
def _database_fault(stage: Stage, kind: str) -> Iterator[None]:
    with stage.outage() as server:
        undo = _harm(server, kind)
        yield
        undo()


def _harm(server: FaultyPostgreSQL, kind: str) -> Callable[[], None]:
    if kind.startswith("freeze"):
        frozen = server.freeze(whole=kind == "freeze")
        return lambda: server.thaw(frozen)
    (server.shut_down if kind == "fast" else server.crash)()
    return server.start_again


def report(story: Story, done: Counter[str], complaints: Sequence[str] = ()) -> tuple[str, bool]:
    """Return the end of the report, and whether all promises were kept."""
    violations = [*complaints, *judge(story, PROMISE)]
    changes = failovers(story)
    lines = [f"{change.seconds:8.3f} s  {change.before} -> {change.after}  ({change.cause})" for change in changes]
    lines = ["", "changes of master: how long nothing ran, who, and what ended the run before", *lines, ""]
    for cause in sorted({change.cause for change in changes}):
        took = sorted(change.seconds for change in changes if change.cause == cause)
        lines.append(f"{len(took)} after {cause!r}: median {median(took):.3f} s, longest {took[-1]:.3f} s")
    late = sum(event.what == "late" for event in story.events)
    lines.append(f"faults: {', '.join(f'{count} {kind}' for kind, count in done.most_common())}")
    lines.append(
        f"{len(story.runs())} terms, {len(story.effects)} guarded writes, {late} pauses noticed by workers"
    )
    lines += ["", *violations, f"verdict: {len(violations)} violations" if violations else "verdict: no violation"]
    return "\n".join(lines), not violations
