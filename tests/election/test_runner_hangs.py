"""The threads of an instance: nothing that hangs can delay what keeps the election safe."""

import logging
import threading
from collections.abc import Callable

from masterjob.concurrency.clock import clock
from masterjob.election.core.commands import Renew
from masterjob.election.core.events import (
    Failure,
)
from masterjob.election.core.session import HeartbeatConnection
from masterjob.election.runner import ElectionRunner
from masterjob.election.values import Inventory
from tests.election.runner_harness import (
    FAST,
    HangingDatabase,
    RecordingJob,
    declare,
    wait_until,
)
from tests.timeouts import WAIT_TIMEOUT


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
