"""A database whose calls can hang, and jobs that record their calls, for tests with the threads of an instance."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from masterjob.concurrency.clock import clock
from masterjob.election.core.events import (
    Declare,
)
from masterjob.election.ports import Report
from masterjob.election.runner import ElectionRunner
from masterjob.election.term import LiveTerm
from masterjob.election.timing import Timing
from masterjob.election.values import Inventory, NewSession, Term
from masterjob.errors import StoreUnavailable
from tests.simulation.memory import MemoryDatabase, MemoryStore
from tests.timeouts import WAIT_TIMEOUT

FAST = Timing.of(0.1, stop_timeout=0.05, max_heartbeat_retry_count=2, check_master_interval=0.2)
"""For tests in which the trust must end."""

RELAXED = Timing.of(0.1, 20.0, stop_timeout=0.05, max_heartbeat_retry_count=2, check_master_interval=0.2)
"""For all others: a busy machine must not end it."""


class HangingStore(MemoryStore):
    """A store whose calls can be made to hang, as if the network dropped all packets."""

    def __init__(self, database: "HangingDatabase") -> None:
        super().__init__(database.memory)
        self._hanging_database = database
        self._aborted = threading.Event()

    def renew(self, session_id: str, instance: str) -> Inventory | None:
        self._maybe_hang("renew")
        return super().renew(session_id, instance)

    def list_vacancies(self):  # type: ignore[no-untyped-def]
        self._maybe_hang("list_vacancies")
        return super().list_vacancies()

    def open_session(self, session: NewSession) -> None:
        self._maybe_hang("open_session")
        super().open_session(session)

    def _maybe_hang(self, method: str) -> None:
        if method in self._hanging_database.hanging_methods:
            self._hanging_database.has_hung.set()
            self._aborted.wait(2 * WAIT_TIMEOUT)  # longer than the test waits for the consequence
            raise StoreUnavailable("aborted")

    def abort(self) -> None:
        self._aborted.set()


@dataclass
class HangingDatabase:
    memory: MemoryDatabase = field(
        default_factory=lambda: MemoryDatabase(lambda: int(clock() * 1000) + 1_700_000_000_000)
    )
    hanging_methods: set[str] = field(default_factory=set)
    has_hung: threading.Event = field(default_factory=threading.Event)
    failures_left: int = 0
    connections: int = 0

    def prepare(self) -> None:
        if self.failures_left:
            self.failures_left -= 1
            raise StoreUnavailable("connection refused")

    def connect(self, timeout: float) -> HangingStore:
        assert timeout > 0
        self.connections += 1
        return HangingStore(self)

    def create_notifier(self, on_change: Callable[[frozenset[str] | None], None]) -> "FakeNotifier":
        notifier = FakeNotifier(on_change)
        self.memory.listeners.append(notifier)
        return notifier


class FakeNotifier:
    def __init__(self, on_change: Callable[[frozenset[str] | None], None]) -> None:
        self._on_change = on_change

    def __call__(self, lock_names: frozenset[str]) -> None:
        self._on_change(lock_names)

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass


class RecordingJob:
    """A job that records its calls; its stop returns when the test lets it."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.stopped = threading.Semaphore(0)
        self.may_stop = threading.Event()
        self.may_stop.set()
        self.terms: list[LiveTerm] = []
        self.stop_called_at = 0.0
        self._report: Report | None = None

    def start(self, term: LiveTerm, report: Report) -> None:
        self.terms.append(term)
        self._report = report
        report.started()
        self.started.release()

    def set_stop_timeout(self, stop_timeout: float) -> None:
        self.stop_timeout = stop_timeout

    def stop(self) -> None:
        self.stop_called_at = clock()
        self.stopped.release()
        threading.Thread(target=self._stop, args=(self._report,), daemon=True).start()

    def _stop(self, report: Report) -> None:
        self.may_stop.wait(WAIT_TIMEOUT)
        report.stopped()


def no_fence(connection: object, term: Term) -> None:
    raise NotImplementedError


def declare(
    runner: ElectionRunner, job: RecordingJob, lock_name: str = "a", timing: Timing = RELAXED
) -> RecordingJob:
    runner.set_job(lock_name, job)
    runner.submit(Declare(lock_name, timing))
    return job


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the timeout only ends a test that fails."""
    deadline = clock() + WAIT_TIMEOUT
    ticker = threading.Event()
    while not condition():
        assert clock() < deadline, "the condition was not met in time"
        ticker.wait(0.005)
