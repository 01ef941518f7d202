"""The threads: that nothing which hangs can hold up what keeps the election safe (design 3.4)."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from masterjob.election.clock import clock
from masterjob.election.driver import Driver
from masterjob.election.errors import StoreUnavailable
from masterjob.election.machine.commands import OwnLane, Renew
from masterjob.election.machine.elector import Elector
from masterjob.election.machine.events import Declare, Failure, StepDown, Withdraw
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.election.timing import Timing
from masterjob.election.values import Identity, Inventory, NewSession, Term

from ..simulation.memory import MemoryDatabase, MemoryStore

FAST = Timing.of(0.1, stop_timeout=0.05, max_heartbeat_retry_count=2, check_master_interval=0.2)
"""For tests in which the trust has to end."""

STEADY = Timing.of(0.1, 20.0, stop_timeout=0.05, max_heartbeat_retry_count=2, check_master_interval=0.2)
"""For all others: a machine that is busy must not end it."""

PATIENCE = 10.0


class Hanging(MemoryStore):
    """A store whose calls can be made to hang, as a black hole in the network does."""

    def __init__(self, database: "HangingDatabase") -> None:
        super().__init__(database.tables_in_memory)
        self._where = database
        self._aborted = threading.Event()

    def renew(self, session_id: str, instance: str) -> Inventory | None:
        self._pass("renew")
        return super().renew(session_id, instance)

    def vacancies(self):  # type: ignore[no-untyped-def]
        self._pass("vacancies")
        return super().vacancies()

    def open(self, session: NewSession) -> None:
        self._pass("open")
        super().open(session)

    def _pass(self, verb: str) -> None:
        if verb in self._where.hanging:
            self._where.hung.set()
            self._aborted.wait(PATIENCE)
            raise StoreUnavailable("aborted")

    def abort(self) -> None:
        self._aborted.set()


@dataclass
class HangingDatabase:
    tables_in_memory: MemoryDatabase = field(
        default_factory=lambda: MemoryDatabase(lambda: int(clock() * 1000) + 1_700_000_000_000)
    )
    hanging: set[str] = field(default_factory=set)
    hung: threading.Event = field(default_factory=threading.Event)
    refusals: int = 0
    connections: int = 0

    def prepare(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("connection refused")

    def connect(self, timeout: float) -> Hanging:
        assert timeout > 0
        self.connections += 1
        return Hanging(self)

    def wakeups(self, woken: Callable[[frozenset[str] | None], None]) -> "Hints":
        hints = Hints(woken)
        self.tables_in_memory.listeners.append(hints)
        return hints


class Hints:
    def __init__(self, woken: Callable[[frozenset[str] | None], None]) -> None:
        self._woken = woken

    def __call__(self, names: frozenset[str]) -> None:
        self._woken(names)

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass


class Notes:
    """A job that writes down what happens to it; its stop returns when the test lets it."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.stopped = threading.Semaphore(0)
        self.may_stop = threading.Event()
        self.may_stop.set()
        self.terms: list[LiveTerm] = []
        self.told_to_stop_at = 0.0
        self._report: Report | None = None

    def start(self, term: LiveTerm, report: Report) -> None:
        self.terms.append(term)
        self._report = report
        report.started()
        self.started.release()

    def stop_within(self, seconds: float) -> None:
        self.stop_timeout = seconds

    def stop(self) -> None:
        self.told_to_stop_at = clock()
        self.stopped.release()
        threading.Thread(target=self._stop, args=(self._report,), daemon=True).start()

    def _stop(self, report: Report) -> None:
        self.may_stop.wait(PATIENCE)
        report.stopped()


def no_fence(connection: object, term: Term) -> None:
    raise NotImplementedError


@pytest.fixture
def database() -> HangingDatabase:
    return HangingDatabase()


@pytest.fixture
def drivers(database: HangingDatabase) -> Iterator[Callable[[str], Driver]]:
    started: list[Driver] = []

    def start(name: str) -> Driver:
        driver = Driver(Identity(name), database, no_fence)
        started.append(driver)
        driver.start()
        return driver

    yield start
    database.hanging.clear()
    for driver in started:
        driver.leave("the test ends", PATIENCE)


def enter(driver: Driver, job: Notes, name: str = "a", timing: Timing = STEADY) -> Notes:
    driver.run_job(name, job)
    driver.tell(Declare(name, timing))
    return job


def test_one_of_two_is_master_and_the_other_after_it_left(
    drivers: Callable[[str], Driver],
) -> None:
    first, second = drivers("first"), drivers("second")
    one = enter(first, Notes())
    assert one.started.acquire(timeout=PATIENCE)
    other = enter(second, Notes())
    assert first.leave("enough", PATIENCE)
    assert other.started.acquire(timeout=PATIENCE)
    assert other.terms[0].number > one.terms[0].number


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_a_start_that_fails_with_an_error_without_words_gives_the_lock_to_others(
    drivers: Callable[[str], Driver],
) -> None:
    class Failing(Notes):
        def start(self, term: LiveTerm, report: Report) -> None:
            super().start(term, report)
            report.start_failed(Unspeakable())

    driver = drivers("me")
    job = enter(driver, Failing())
    assert job.stopped.acquire(timeout=PATIENCE)
    assert enter(drivers("other"), Notes()).started.acquire(timeout=PATIENCE)


def test_where_no_thread_is_left_for_wake_ups_the_election_goes_on(
    drivers: Callable[[str], Driver], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Hints) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Hints, "start", fail)
    job = enter(drivers("me"), Notes())
    assert job.started.acquire(timeout=PATIENCE)
    assert "there are no wake-ups" in caplog.text


def test_a_command_that_keeps_failing_is_told_once(
    drivers: Callable[[str], Driver], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Semaphore(0)

    def refuse(*_: object) -> None:
        failed.release()
        raise StoreUnavailable("no such character")

    monkeypatch.setattr(Hanging, "ensure", refuse)
    enter(drivers("me"), Notes())
    for _ in range(2):
        assert failed.acquire(timeout=PATIENCE)
    assert caplog.text.count("the rows of locks cannot be written, which is tried again: no such character") == 1


def test_a_heartbeat_that_hangs_does_not_keep_the_job_from_being_stopped_in_time(
    drivers: Callable[[str], Driver], database: HangingDatabase
) -> None:
    driver = drivers("me")
    job = enter(driver, Notes(), timing=FAST)
    assert job.started.acquire(timeout=PATIENCE)
    database.hanging.add("renew")
    assert job.stopped.acquire(timeout=PATIENCE)


def test_a_claim_that_hangs_costs_the_heartbeats_nothing(
    drivers: Callable[[str], Driver], database: HangingDatabase
) -> None:
    driver = drivers("me")
    job = enter(driver, Notes())
    assert job.started.acquire(timeout=PATIENCE)
    database.hanging.add("vacancies")
    enter(driver, Notes(), "b")
    assert database.hung.wait(PATIENCE)
    beat = database.tables_in_memory.tables.sessions
    (session,) = beat.values()
    seen = session.beat
    wait_until(lambda: session.beat > seen + 10)
    assert job.terms[0].trust_left > 0


def test_after_a_hang_the_lane_goes_on_with_a_fresh_connection(
    drivers: Callable[[str], Driver], database: HangingDatabase
) -> None:
    driver = drivers("me")
    job = enter(driver, Notes(), timing=FAST)
    assert job.started.acquire(timeout=PATIENCE)
    before = database.connections
    database.hanging.add("renew")
    assert job.stopped.acquire(timeout=PATIENCE)
    database.hanging.clear()
    assert job.started.acquire(timeout=PATIENCE)
    assert database.connections > before


def test_the_guard_stops_the_job_though_the_electors_thread_is_held_up(
    drivers: Callable[[str], Driver], database: HangingDatabase
) -> None:
    held, release = threading.Event(), threading.Event()

    class Blocked(logging.Handler):
        """A log that nobody reads any more, as a full pipe is."""

        def emit(self, record: logging.LogRecord) -> None:
            if "failed" in record.getMessage() and not held.is_set():
                held.set()
                release.wait(PATIENCE)

    driver = drivers("me")
    job = enter(driver, Notes(), timing=FAST)
    assert job.started.acquire(timeout=PATIENCE)
    handler = Blocked()
    logging.getLogger("masterjob").addHandler(handler)
    try:
        database.tables_in_memory.connect().close()
        driver.tell(fail_of(driver))
        assert held.wait(PATIENCE)
        assert job.stopped.acquire(timeout=PATIENCE)
        assert not release.is_set()
    finally:
        release.set()
        logging.getLogger("masterjob").removeHandler(handler)


def fail_of(driver: Driver):  # type: ignore[no-untyped-def]
    """An event that makes the elector's thread log something: a heartbeat that failed, and is not awaited."""

    beat = Renew(clock(), OwnLane("nowhere", 1.0), "nobody", driver.identity.instance, Inventory(0, 0))
    return Failure(beat, "made up")


def test_a_term_tells_that_it_is_over_as_soon_as_it_has_to_end(drivers: Callable[[str], Driver]) -> None:
    driver = drivers("me")
    job = enter(driver, Notes())
    assert job.started.acquire(timeout=PATIENCE)
    (live,) = job.terms
    live.raise_if_lost()
    assert driver.term_of("a") is live
    job.may_stop.clear()
    driver.tell(StepDown("a", "asked"))
    assert job.stopped.acquire(timeout=PATIENCE)
    assert live.trust_left == 0
    assert driver.term_of("a") is None
    job.may_stop.set()


def test_a_database_that_is_not_there_yet_is_waited_for(database: HangingDatabase) -> None:
    database.refusals = 3
    driver = Driver(Identity("me"), database, no_fence)
    assert driver.why("a") == "the database was not reached yet"
    job = enter(driver, Notes())
    driver.start()
    assert job.started.acquire(timeout=PATIENCE)
    assert driver.leave("the test ends", PATIENCE)


def test_leaving_before_the_database_was_ever_there_ends_at_once(database: HangingDatabase) -> None:
    database.refusals = 10**9
    driver = Driver(Identity("me"), database, no_fence)
    enter(driver, Notes())
    driver.start()
    assert driver.leave("the test ends", PATIENCE)


def test_a_lock_that_is_closed_is_gone_only_after_its_stop_has_returned(drivers: Callable[[str], Driver]) -> None:
    driver = drivers("me")
    job = enter(driver, Notes())
    assert job.started.acquire(timeout=PATIENCE)
    job.may_stop.clear()
    driver.tell(Withdraw("a", "closed"))
    assert job.stopped.acquire(timeout=PATIENCE)
    assert not driver.wait_gone("a", 0.0)
    job.may_stop.set()
    assert driver.wait_gone("a", PATIENCE)


def test_leaving_leaves_no_session_and_no_thread_behind(
    database: HangingDatabase, drivers: Callable[[str], Driver]
) -> None:
    driver = drivers("me")
    job = enter(driver, Notes())
    assert job.started.acquire(timeout=PATIENCE)
    assert driver.leave("enough", PATIENCE)
    own = {f"masterjob {each}" for each in ("elector", "guard", "heartbeat", "control")}
    wait_until(lambda: own.isdisjoint(thread.name for thread in threading.enumerate()))
    assert not database.tables_in_memory.tables.sessions
    assert database.tables_in_memory.tables.locks["a"].holder is None


def test_a_defect_in_the_election_stops_every_job_rather_than_going_on_blindly(
    drivers: Callable[[str], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = drivers("me")
    job = enter(driver, Notes())
    assert job.started.acquire(timeout=PATIENCE)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Elector, "handle", broken)
    assert job.stopped.acquire(timeout=PATIENCE)
    wait_until(lambda: "ZeroDivisionError" in driver.why("a"))


def test_a_log_handler_that_raises_costs_nothing(
    drivers: Callable[[str], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(record: logging.LogRecord) -> bool:
        raise KeyError(record.msg)

    monkeypatch.setattr(logging.getLogger("masterjob"), "filters", [broken])
    driver = drivers("me")
    job = enter(driver, Notes())
    assert job.started.acquire(timeout=PATIENCE)
    driver.tell(StepDown("a", "asked"))
    assert job.stopped.acquire(timeout=PATIENCE)
    assert job.started.acquire(timeout=PATIENCE)


def test_whatever_a_driver_raises_while_the_tables_are_prepared_is_told_and_tried_again(
    database: HangingDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()

    def unfit() -> None:
        told.set()
        raise TypeError("got an unexpected keyword argument 'ssl_foo'")

    monkeypatch.setattr(database, "prepare", unfit)
    driver = Driver(Identity("me"), database, no_fence)
    driver.start()
    assert told.wait(PATIENCE)
    wait_until(lambda: "ssl_foo" in driver.why("a"))
    assert driver.leave("the test ends", PATIENCE)


def test_where_no_thread_can_be_started_the_command_has_failed_and_nothing_else(
    drivers: Callable[[str], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = threading.Semaphore(2)
    start = threading.Thread.start

    def sometimes(thread: threading.Thread) -> None:
        if thread.name in ("masterjob control", "masterjob heartbeat") and refused.acquire(blocking=False):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", sometimes)
    driver = drivers("me")
    job = enter(driver, Notes())
    assert job.started.acquire(timeout=PATIENCE)


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition; a bound in time only so that a failure ends."""
    end = clock() + PATIENCE
    pulse = threading.Event()
    while not true():
        assert clock() < end, "it did not come true"
        pulse.wait(0.005)
