"""The threads of an instance: what becomes of a lock, from its declaration to the end."""

import threading
from collections.abc import Callable

from masterjob.election.core.events import (
    JobRunChanged,
    JobStarted,
    JobStopped,
    StepDown,
    Withdraw,
)
from masterjob.election.observers import Step
from masterjob.election.ports import Report
from masterjob.election.runner import ElectionRunner
from masterjob.election.term import LiveTerm
from masterjob.election.values import Identity
from masterjob.job_status import RunPhase, RunStatus
from tests.election.runner_harness import HangingDatabase, RecordingJob, declare, no_fence, wait_until
from tests.timeouts import WAIT_TIMEOUT


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
