"""A long run: carries out a schedule, and reports every fault, every failover, and the result."""

import heapq
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from statistics import median

from masterjob import StoreUnavailable
from tests.faults.checker import failovers, find_violations
from tests.faults.events import EventLog
from tests.faults.fixtures import RANDOM_RUN_GUARANTEES, FaultHarness, WorkerProcess
from tests.faults.proxy import NetworkMode
from tests.faults.schedule import DATABASE_TARGET, LOCK_TARGET, MASTER_TARGET, NETWORK_FAULTS, Fault
from tests.faults.server import FaultyPostgreSQL
from tests.faults.worker import now

WriteLine = Callable[[str], None]


class RandomRun:
    """A random run. The end of each fault undoes it: an ended worker is replaced by a new one."""

    def __init__(self, harness: FaultHarness, workers: int, write_line: WriteLine) -> None:
        self._harness = harness
        self._write_line = write_line
        self._workers = [harness.start_worker() for _ in range(workers)]
        self._faulty_targets: set[int] = set()
        self._pending_ends: list[tuple[float, int, int, AbstractContextManager[None]]] = []
        self._sequence = itertools.count()
        self._started_at = now()
        self.fault_counts: Counter[str] = Counter()

    def run(self, faults: list[Fault], seconds: float) -> EventLog:
        """Carry out all faults; return the event log."""
        for fault in faults:
            self._wait_until(fault.starts_at)
            self._begin_fault(fault)
        self._wait_until(seconds)
        while self._pending_ends:
            self._end_next_fault()
        self._wait(RANDOM_RUN_GUARANTEES.max_gap)
        return self._harness.close_and_collect()

    @property
    def _elapsed(self) -> float:
        return now() - self._started_at

    def _wait_until(self, at: float) -> None:
        while self._pending_ends and self._pending_ends[0][0] <= at:
            self._wait(self._pending_ends[0][0] - self._elapsed)
            self._end_next_fault()
        self._wait(at - self._elapsed)

    @staticmethod
    def _wait(seconds: float) -> None:
        threading.Event().wait(max(0.0, seconds))

    def _begin_fault(self, fault: Fault) -> None:
        target = self._resolve_target(fault)
        if (
            target is None
            or target in self._faulty_targets
            or (DATABASE_TARGET in self._faulty_targets and target == LOCK_TARGET)
        ):
            self._write_line(f"{self._elapsed:9.1f}  skipped: {fault}")
            return
        fault_context = self._fault_context(fault, target)
        fault_context.__enter__()
        self.fault_counts[fault.kind] += 1
        self._faulty_targets.add(target)
        heapq.heappush(
            self._pending_ends, (self._elapsed + fault.duration, next(self._sequence), target, fault_context)
        )
        self._write_line(
            f"{self._elapsed:9.1f}  {fault}" + (f" ({self._workers[target].name})" if target >= 0 else "")
        )

    def _end_next_fault(self) -> None:
        _, _, target, fault_context = heapq.heappop(self._pending_ends)
        fault_context.__exit__(None, None, None)
        self._faulty_targets.discard(target)

    def _resolve_target(self, fault: Fault) -> int | None:
        if fault.target != MASTER_TARGET:
            return fault.target
        master = self._harness.master()
        return self._workers.index(master) if master in self._workers else None

    def _fault_context(self, fault: Fault, target: int) -> AbstractContextManager[None]:
        if target == DATABASE_TARGET:
            return _database_disturbed(self._harness, fault.kind)
        if target == LOCK_TARGET:
            return _lock_disabled(self._harness)
        worker = self._workers[target]
        if fault.kind in NETWORK_FAULTS:
            return _network_disturbed(self._harness, worker, fault)
        if fault.kind == "pause":
            return _worker_paused(self._harness, worker)
        return self._worker_ended(target, fault.kind)

    @contextmanager
    def _worker_ended(self, target: int, kind: str) -> Iterator[None]:
        worker = self._workers[target]
        (self._harness.kill if kind == "kill" else self._harness.terminate)(worker)
        yield
        self._workers[target] = self._harness.start_worker()


@contextmanager
def _worker_paused(harness: FaultHarness, worker: WorkerProcess) -> Iterator[None]:
    harness.pause(worker)
    yield
    harness.resume(worker)


@contextmanager
def _network_disturbed(harness: FaultHarness, worker: WorkerProcess, fault: Fault) -> Iterator[None]:
    harness.disturb_network(worker, NetworkMode[fault.kind.upper()], every_nth=fault.every_nth, delay=fault.delay)
    yield
    harness.restore_network(worker)


@contextmanager
def _lock_disabled(harness: FaultHarness) -> Iterator[None]:
    for switch in (harness.disable, harness.enable):
        while True:
            try:
                switch()
                break
            except StoreUnavailable:  # the database is down, or a paused writer holds the row for a while
                threading.Event().wait(0.2)
        if switch == harness.disable:
            yield


@contextmanager
def _database_disturbed(harness: FaultHarness, kind: str) -> Iterator[None]:
    with harness.outage() as server:
        undo = _disturb_database(server, kind)
        yield
        undo()


def _disturb_database(server: FaultyPostgreSQL, kind: str) -> Callable[[], None]:
    if kind.startswith("freeze"):
        frozen = server.freeze(include_postmaster=kind == "freeze")
        return lambda: server.thaw(frozen)
    (server.shut_down if kind == "fast" else server.crash)()
    return server.restart


def report(
    event_log: EventLog, fault_counts: Counter[str], other_violations: Sequence[str] = ()
) -> tuple[str, bool]:
    """Return the report, and whether there was no violation."""
    violations = [*other_violations, *find_violations(event_log, RANDOM_RUN_GUARANTEES)]
    changes = failovers(event_log)
    lines = [
        f"{change.duration:8.3f} s  {change.before} -> {change.after}  ({change.cause})" for change in changes
    ]
    lines = [
        "",
        "changes of master: how long nothing ran, from and to which worker, and what ended the previous run",
        *lines,
        "",
    ]
    for cause in sorted({change.cause for change in changes}):
        durations = sorted(change.duration for change in changes if change.cause == cause)
        lines.append(
            f"{len(durations)} after {cause!r}: median {median(durations):.3f} s, longest {durations[-1]:.3f} s"
        )
    pauses = sum(event.what == "late" for event in event_log.events)
    lines.append(f"faults: {', '.join(f'{count} {kind}' for kind, count in fault_counts.most_common())}")
    lines.append(
        f"{len(event_log.runs())} terms, {len(event_log.effects)} guarded writes, "
        f"{pauses} pauses noticed by workers"
    )
    lines += ["", *violations, f"result: {len(violations)} violations" if violations else "result: no violation"]
    return "\n".join(lines), not violations
