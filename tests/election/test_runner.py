"""The threads of an instance: nothing that hangs can delay what keeps the election safe."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from masterjob.concurrency.clock import clock
from masterjob.election.core.commands import Renew
from masterjob.election.core.elector import Elector
from masterjob.election.core.events import (
    Declare,
    Failure,
    JobRunChanged,
    JobStarted,
    JobStopped,
    StepDown,
    Withdraw,
)
from masterjob.election.core.session import HeartbeatConnection
from masterjob.election.observers import Step
from masterjob.election.ports import Report
from masterjob.election.runner import ElectionRunner
from masterjob.election.term import LiveTerm
from masterjob.election.timing import Timing
from masterjob.election.values import Identity, Inventory, NewSession, Term
from masterjob.errors import StoreUnavailable
from masterjob.job_status import RunPhase, RunStatus
from masterjob.store.connection.connection import StatementFailed
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


@pytest.fixture
def database() -> HangingDatabase:
    return HangingDatabase()


@pytest.fixture
def start_runner(database: HangingDatabase) -> Iterator[Callable[[str], ElectionRunner]]:
    started: list[ElectionRunner] = []

    def start(name: str) -> ElectionRunner:
        runner = ElectionRunner(Identity(name), database, no_fence)
        started.append(runner)
        runner.start()
        return runner

    yield start
    database.hanging_methods.clear()
    for runner in started:
        runner.shutdown("the test ends", WAIT_TIMEOUT)


def declare(
    runner: ElectionRunner, job: RecordingJob, lock_name: str = "a", timing: Timing = RELAXED
) -> RecordingJob:
    runner.set_job(lock_name, job)
    runner.submit(Declare(lock_name, timing))
    return job


def test_one_of_two_is_master_and_the_other_after_its_shutdown(
    start_runner: Callable[[str], ElectionRunner],
) -> None:
    first, second = start_runner("first"), start_runner("second")
    one = declare(first, RecordingJob())
    assert one.started.acquire(timeout=WAIT_TIMEOUT)
    other = declare(second, RecordingJob())
    assert first.shutdown("enough", WAIT_TIMEOUT)
    assert other.started.acquire(timeout=WAIT_TIMEOUT)
    assert other.terms[0].number > one.terms[0].number


def test_observers_see_the_status_of_a_run_in_order(database: HangingDatabase) -> None:
    class ReportingJob(RecordingJob):
        def start(self, term: LiveTerm, report: Report) -> None:
            for phase in (RunPhase.STARTING, RunPhase.RUNNING):
                report.progress(RunStatus(phase, 1.0))
            super().start(term, report)

    steps = list[Step]()
    runner = ElectionRunner(Identity("me"), database, no_fence, [steps.append])
    runner.start()
    job = declare(runner, ReportingJob())
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    assert runner.shutdown("enough", WAIT_TIMEOUT)
    runner.wait_for_observers(WAIT_TIMEOUT)
    events = [step.event for step in steps if isinstance(step.event, JobRunChanged | JobStarted | JobStopped)]
    assert [type(event).__name__ for event in events] == [
        "JobRunChanged",
        "JobRunChanged",
        "JobStarted",
        "JobStopped",
    ]
    phases = [event.run.phase for event in events if isinstance(event, JobRunChanged)]
    assert phases == [RunPhase.STARTING, RunPhase.RUNNING]


class UndescribableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_a_start_that_fails_with_an_undescribable_error_gives_the_lock_to_others(
    start_runner: Callable[[str], ElectionRunner],
) -> None:
    class Failing(RecordingJob):
        def start(self, term: LiveTerm, report: Report) -> None:
            super().start(term, report)
            report.start_failed(UndescribableError())

    runner = start_runner("me")
    job = declare(runner, Failing())
    assert job.stopped.acquire(timeout=WAIT_TIMEOUT)
    assert declare(start_runner("other"), RecordingJob()).started.acquire(timeout=WAIT_TIMEOUT)


def test_the_election_goes_on_if_no_thread_can_be_started_for_the_notifier(
    start_runner: Callable[[str], ElectionRunner],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: FakeNotifier) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(FakeNotifier, "start", fail)
    job = declare(start_runner("me"), RecordingJob())
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    assert "no change notifications" in caplog.text


def test_a_command_that_keeps_failing_is_logged_once(
    start_runner: Callable[[str], ElectionRunner],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed = threading.Semaphore(0)

    def refuse(*_: object) -> None:
        failed.release()
        raise StatementFailed("no such character")

    monkeypatch.setattr(HangingStore, "ensure_locks", refuse)
    declare(start_runner("me"), RecordingJob())
    for _ in range(2):
        assert failed.acquire(timeout=WAIT_TIMEOUT)
    assert caplog.text.count("the rows of locks could not be written (will be retried): no such character") == 1


def test_a_heartbeat_that_hangs_does_not_keep_the_job_from_being_stopped_in_time(
    start_runner: Callable[[str], ElectionRunner], database: HangingDatabase
) -> None:
    runner = start_runner("me")
    job = declare(runner, RecordingJob(), timing=FAST)
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    database.hanging_methods.add("renew")
    assert job.stopped.acquire(timeout=WAIT_TIMEOUT)


def test_a_claim_that_hangs_does_not_delay_the_heartbeats(
    start_runner: Callable[[str], ElectionRunner], database: HangingDatabase
) -> None:
    runner = start_runner("me")
    job = declare(runner, RecordingJob())
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    database.hanging_methods.add("list_vacancies")
    declare(runner, RecordingJob(), "b")
    assert database.has_hung.wait(WAIT_TIMEOUT)
    sessions = database.memory.tables.sessions
    (session,) = sessions.values()
    first_beat = session.beat
    wait_until(lambda: session.beat > first_beat + 10)
    assert job.terms[0].trust_left > 0


def test_after_a_hang_the_worker_goes_on_with_a_fresh_connection(
    start_runner: Callable[[str], ElectionRunner], database: HangingDatabase
) -> None:
    runner = start_runner("me")
    job = declare(runner, RecordingJob(), timing=FAST)
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    before = database.connections
    database.hanging_methods.add("renew")
    assert job.stopped.acquire(timeout=WAIT_TIMEOUT)
    database.hanging_methods.clear()
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    assert database.connections > before


def test_the_watchdog_stops_the_job_even_if_the_electors_thread_is_blocked(
    start_runner: Callable[[str], ElectionRunner], database: HangingDatabase
) -> None:
    blocked, release = threading.Event(), threading.Event()

    class BlockingHandler(logging.Handler):
        """A log that blocks, such as a full pipe."""

        def emit(self, record: logging.LogRecord) -> None:
            if "failed" in record.getMessage() and not blocked.is_set():
                blocked.set()
                release.wait(2 * WAIT_TIMEOUT)  # longer than the test waits for the stop

    runner = start_runner("me")
    job = declare(runner, RecordingJob(), timing=FAST)
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    handler = BlockingHandler()
    logging.getLogger("masterjob").addHandler(handler)
    try:
        database.memory.connect().close()
        runner.submit(failed_heartbeat(runner))
        assert blocked.wait(WAIT_TIMEOUT)
        assert job.stopped.acquire(timeout=WAIT_TIMEOUT)
        assert not release.is_set()
    finally:
        release.set()
        logging.getLogger("masterjob").removeHandler(handler)


def failed_heartbeat(runner: ElectionRunner):  # type: ignore[no-untyped-def]
    """Return an event that makes the elector's thread log something: the failure of an unknown heartbeat."""
    renew = Renew(
        clock(), HeartbeatConnection("heartbeat", 1.0), "unknown", runner.identity.instance, Inventory(0, 0)
    )
    return Failure(renew, "made up")


def test_a_term_is_lost_as_soon_as_it_has_to_end(start_runner: Callable[[str], ElectionRunner]) -> None:
    runner = start_runner("me")
    job = declare(runner, RecordingJob())
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    (live,) = job.terms
    live.raise_if_lost()
    assert runner.current_term("a") is live
    job.may_stop.clear()
    runner.submit(StepDown("a", "asked"))
    assert job.stopped.acquire(timeout=WAIT_TIMEOUT)
    assert live.trust_left == 0
    assert runner.current_term("a") is None
    job.may_stop.set()


def test_an_instance_waits_for_a_database_that_is_not_available_yet(database: HangingDatabase) -> None:
    database.failures_left = 3
    runner = ElectionRunner(Identity("me"), database, no_fence)
    assert runner.explain("a") == "the database was not reached yet"
    job = declare(runner, RecordingJob())
    runner.start()
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    assert runner.shutdown("the test ends", WAIT_TIMEOUT)


def test_a_shutdown_before_the_database_was_available_ends_at_once(database: HangingDatabase) -> None:
    database.failures_left = 10**9
    runner = ElectionRunner(Identity("me"), database, no_fence)
    declare(runner, RecordingJob())
    runner.start()
    assert runner.shutdown("the test ends", WAIT_TIMEOUT)


def test_a_lock_is_withdrawn_only_after_its_stop_has_returned(
    start_runner: Callable[[str], ElectionRunner],
) -> None:
    runner = start_runner("me")
    job = declare(runner, RecordingJob())
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    job.may_stop.clear()
    runner.submit(Withdraw("a", "closed"))
    assert job.stopped.acquire(timeout=WAIT_TIMEOUT)
    assert not runner.wait_withdrawn("a", 0.0)
    job.may_stop.set()
    assert runner.wait_withdrawn("a", WAIT_TIMEOUT)


def test_a_shutdown_leaves_no_session_and_no_thread_behind(
    database: HangingDatabase, start_runner: Callable[[str], ElectionRunner]
) -> None:
    runner = start_runner("me")
    job = declare(runner, RecordingJob())
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    assert runner.shutdown("enough", WAIT_TIMEOUT)
    thread_names = {f"masterjob-{each}" for each in ("elector", "watchdog", "heartbeat", "control")}
    wait_until(lambda: thread_names.isdisjoint(thread.name for thread in threading.enumerate()))
    assert not database.memory.tables.sessions
    assert database.memory.tables.locks["a"].holder is None


def test_a_defect_in_the_election_stops_every_job(
    start_runner: Callable[[str], ElectionRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = start_runner("me")
    job = declare(runner, RecordingJob())
    assert job.started.acquire(timeout=WAIT_TIMEOUT)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Elector, "handle", broken)
    assert job.stopped.acquire(timeout=WAIT_TIMEOUT)
    wait_until(lambda: "ZeroDivisionError" in runner.explain("a"))


def test_a_log_handler_that_raises_does_not_affect_the_election(
    start_runner: Callable[[str], ElectionRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(record: logging.LogRecord) -> bool:
        raise KeyError(record.msg)

    monkeypatch.setattr(logging.getLogger("masterjob"), "filters", [broken])
    runner = start_runner("me")
    job = declare(runner, RecordingJob())
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    runner.submit(StepDown("a", "asked"))
    assert job.stopped.acquire(timeout=WAIT_TIMEOUT)
    assert job.started.acquire(timeout=WAIT_TIMEOUT)


def test_any_error_of_a_driver_while_the_tables_are_prepared_is_logged_and_retried(
    database: HangingDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempted = threading.Event()

    def fail_prepare() -> None:
        attempted.set()
        raise TypeError("got an unexpected keyword argument 'ssl_foo'")

    monkeypatch.setattr(database, "prepare", fail_prepare)
    runner = ElectionRunner(Identity("me"), database, no_fence)
    runner.start()
    assert attempted.wait(WAIT_TIMEOUT)
    wait_until(lambda: "ssl_foo" in runner.explain("a"))
    assert runner.shutdown("the test ends", WAIT_TIMEOUT)


def test_if_no_thread_can_be_started_only_the_command_fails(
    start_runner: Callable[[str], ElectionRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = threading.Semaphore(2)
    start = threading.Thread.start

    def start_or_refuse(thread: threading.Thread) -> None:
        if thread.name in ("masterjob-control", "masterjob-heartbeat") and refused.acquire(blocking=False):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_refuse)
    runner = start_runner("me")
    job = declare(runner, RecordingJob())
    assert job.started.acquire(timeout=WAIT_TIMEOUT)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the timeout only ends a test that fails."""
    deadline = clock() + WAIT_TIMEOUT
    ticker = threading.Event()
    while not condition():
        assert clock() < deadline, "the condition was not met in time"
        ticker.wait(0.005)
