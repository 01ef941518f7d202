"""A job with `run`: its return and its exception, restarts in place, and its stop."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.term import LiveTerm
from masterjob.election.values import Term
from masterjob.errors import TermLost
from masterjob.job_status import RunPhase
from masterjob.jobs import run as run_module
from masterjob.jobs.python import run_function
from tests.jobs.fixtures import ManualThreadPool, RecordingReport, live_term, refuse_guard, run_job, spin_loop
from tests.jobs.process_checks import LogCapture
from tests.timeouts import WAIT_TIMEOUT


class Timers:
    """The calls after a delay, which the test makes itself."""

    def __init__(self) -> None:
        self.pending: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay: float, function: Callable[[], None]) -> None:
        self.pending.append((delay, function))

    def run_next(self) -> float:
        delay, function = self.pending.pop(0)
        function()
        return delay


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    timers = Timers()
    monkeypatch.setattr(run_module, "call_later", timers.call_later)
    monkeypatch.setattr(run_function, "call_later", timers.call_later)
    return timers


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    if not loop.is_closed():
        spin_loop(loop)
        loop.close()


@pytest.mark.parametrize("restart", [None, "onFailure", "never"])
def test_a_run_that_returns_has_completed_and_the_lock_is_kept(restart: str | None, log: LogCapture) -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()
    job = run_job(lambda: calls.append("run"), pool, stop=lambda: calls.append("stop"), restart=restart)
    job.start(live_term(), report)
    assert calls == []
    pool.run_all()
    assert report.phases == ["Starting", "Completed"]
    assert report.events == ["started"]
    log.wait_for("INFO", "the lock: run has returned; the lock is kept")
    job.stop()
    pool.run_all()
    assert (calls, report.events) == (["run"], ["started", "stopped"])
    assert report.runs[-1].phase is RunPhase.COMPLETED
    assert not report.runs[-1].is_final


def test_a_run_that_is_to_run_once_completes_for_good() -> None:
    pool, report = ManualThreadPool(), RecordingReport()
    run_job(lambda: None, pool, once=True).start(live_term(), report)
    pool.run_all()
    assert report.runs[-1].is_final


@pytest.mark.parametrize(
    "error", [ValueError("no\ndisk"), SystemExit(2), TermLost("over"), asyncio.CancelledError()]
)
def test_a_run_that_raises_has_failed_and_the_lock_is_handed_over(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()

    def run() -> None:
        raise error

    job = run_job(run, pool, stop=lambda: calls.append("stop"))
    job.start(live_term(), report)
    pool.run_all()
    assert report.phases == ["Starting", "Failed"]
    assert (report.events, report.errors) == (["start failed"], [error])
    assert "run of lock the lock raised" in caplog.text
    job.stop()
    pool.run_all()
    assert (calls, report.events) == ([], ["start failed", "stopped"])


def test_a_failed_run_that_must_never_be_repeated_keeps_the_lock() -> None:
    pool, report = ManualThreadPool(), RecordingReport()

    def run() -> None:
        raise ValueError("no disk")

    run_job(run, pool, restart="never").start(live_term(), report)
    pool.run_all()
    assert (report.phases, report.events) == (["Starting", "Failed"], [])
    assert report.runs[-1].last_error == "ValueError: no disk"


def test_a_run_that_lives_for_its_start_time_is_running() -> None:
    pool, report, may_return = ThreadPool(), RecordingReport(), threading.Event()
    job = run_job(may_return.wait, pool, start_seconds=0.1)
    job.start(live_term(), report)
    report.wait_for("started")
    may_return.set()
    report.wait_for_run(lambda run: run.phase is RunPhase.COMPLETED)
    assert report.phases == ["Starting", "Running", "Completed"]
    job.stop()


def test_with_always_a_run_that_returns_is_called_again_in_place(timers: Timers, log: LogCapture) -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()
    job = run_job(lambda: calls.append("run"), pool, restart="always")
    job.start(live_term(), report)
    pauses = list[float]()
    for _ in range(4):
        pool.run_all()
        timers.pending.pop(0)  # the start time of this call
        pauses.append(timers.run_next())
    assert pauses == [1, 2, 4, 8]
    assert calls == ["run"] * 4
    pool.run_all()
    assert report.phases == ["Starting", "Failed"] * 5
    assert (report.runs[-1].failures, report.runs[-1].restarts, report.events) == (5, 4, [])
    assert report.runs[-1].last_error.startswith("run has returned after ")
    log.wait_for("INFO", "the lock: run has returned; it is called again in 8 s")


def test_the_start_time_of_an_earlier_call_says_nothing_about_a_later_one(timers: Timers) -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()

    def run() -> None:
        calls.append("run")
        if calls == ["run", "run"]:
            _, first_start_time = timers.pending[0]
            first_start_time()

    run_job(run, pool, restart="always").start(live_term(), report)
    pool.run_all()
    _, restart = timers.pending[1]
    restart()
    pool.run_all()
    assert calls == ["run", "run"]
    assert report.phases == ["Starting", "Failed"] * 2


def test_a_stop_in_the_pause_before_a_restart_ends_the_run_at_once(timers: Timers) -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()
    job = run_job(lambda: calls.append("run"), pool, stop=lambda: calls.append("stop"), restart="always")
    job.start(live_term(), report)
    pool.run_all()
    job.stop()
    assert report.events == ["stopped"]
    for _, function in timers.pending:
        function()
    pool.run_all()
    assert (calls, report.events) == (["run"], ["stopped"])


def test_a_stop_right_before_the_restart_is_called_prevents_it(timers: Timers) -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()
    job = run_job(lambda: calls.append("run"), pool, restart="always")
    job.start(live_term(), report)
    pool.run_all()
    timers.pending[-1][1]()
    job.stop()
    pool.run_all()
    assert (calls, report.events) == (["run"], ["stopped"])


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_that_ends_without_trust_has_neither_completed_nor_failed(fails: bool) -> None:
    pool, report, trust_left = ManualThreadPool(), RecordingReport(), [60.0]

    def run(term: LiveTerm) -> None:
        trust_left[0] = 0.0
        if fails:
            term.raise_if_lost()

    job = run_job(run, pool, once=True)
    job.start(LiveTerm(Term("the lock", 7), lambda: trust_left[0], refuse_guard), report)
    pool.run_all()
    assert (report.phases, report.events) == (["Starting"], [])
    job.stop()
    assert (report.phases, report.events) == (["Starting", "Stopping"], ["stopped"])


def test_without_trust_it_is_not_called_again(timers: Timers) -> None:
    pool, report, calls, trust_left = ManualThreadPool(), RecordingReport(), list[str](), [60.0]
    job = run_job(lambda: calls.append("run"), pool, restart="always")
    job.start(LiveTerm(Term("the lock", 7), lambda: trust_left[0], refuse_guard), report)
    pool.run_all()
    trust_left[0] = 0.0
    timers.pending[-1][1]()
    pool.run_all()
    assert (calls, report.events) == (["run"], [])
    job.stop()
    assert report.events == ["stopped"]


def test_a_lost_term_runs_nothing() -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()
    job = run_job(lambda: calls.append("run"), pool)
    job.start(live_term(trust=0.0), report)
    pool.run_all()
    assert (calls, report.events) == ([], ["stopped"])


def test_without_a_stop_the_term_ends_the_run() -> None:
    report, waiting = RecordingReport(), threading.Event()

    def run(term: LiveTerm) -> None:
        waiting.set()
        term.wait()

    job = run_job(run, ThreadPool())
    job.start(live_term(), report)
    assert waiting.wait(WAIT_TIMEOUT)
    job.stop()
    report.wait_for("stopped")
    assert (report.phases, report.events) == (["Starting", "Stopping"], ["stopped"])


@pytest.mark.parametrize(("error", "logged"), [(None, False), (TermLost("over"), False), (ValueError("no"), True)])
def test_stop_is_called_once_while_it_runs_and_the_run_is_over_when_both_have_returned(
    error: Exception | None, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    pool, report, calls = ManualThreadPool(), RecordingReport(), list[str]()

    def run() -> None:
        job.stop()
        pool.run_next()
        calls.append("run ends")
        assert report.events == []
        if error is not None:
            raise error

    job = run_job(run, pool, stop=lambda: calls.append("stop"))
    job.start(live_term(), report)
    pool.run_all()
    assert (calls, report.events) == (["stop", "run ends"], ["stopped"])
    assert report.phases == ["Starting", "Stopping"]
    assert ("run of lock the lock raised" in caplog.text) is logged


def test_a_stop_that_is_still_busy_keeps_the_lock_after_run_has_returned(caplog: pytest.LogCaptureFixture) -> None:
    pool, report = ManualThreadPool(), RecordingReport()

    def stop() -> None:
        assert report.events == []
        raise ValueError("no")

    def run() -> None:
        job.stop()

    job = run_job(run, pool, stop=stop)
    job.start(live_term(), report)
    pool.run_next()
    assert report.events == []
    pool.run_all()
    assert report.events == ["stopped"]
    assert "stop of lock the lock raised" in caplog.text


async def _wait_for_ever(calls: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        calls.append("run ends")


def test_a_coroutine_is_cancelled_and_awaited_before_stop(loop: asyncio.AbstractEventLoop) -> None:
    report, calls = RecordingReport(), list[str]()

    async def run() -> None:
        await _wait_for_ever(calls)

    async def stop() -> None:
        calls.append("stop")

    job = run_job(run, ManualThreadPool(), loop, stop=stop)
    job.start(live_term(), report)
    spin_loop(loop)
    job.stop()
    assert report.events == []
    spin_loop(loop)
    assert (calls, report.events) == (["run ends", "stop"], ["stopped"])
    assert report.phases == ["Starting", "Stopping"]


@pytest.mark.parametrize(("fails", "phase"), [(False, "Completed"), (True, "Failed")])
def test_a_coroutine_completes_and_fails_like_a_function(
    fails: bool, phase: str, loop: asyncio.AbstractEventLoop
) -> None:
    report = RecordingReport()

    async def run(term: LiveTerm) -> None:
        await asyncio.sleep(0)
        if fails:
            raise ValueError(term.lock_name)

    run_job(run, ManualThreadPool(), loop).start(live_term(), report)
    spin_loop(loop)
    assert report.phases == ["Starting", phase]


def test_a_loop_that_is_closed_before_the_first_call_is_a_failure(loop: asyncio.AbstractEventLoop) -> None:
    report, calls = RecordingReport(), list[str]()

    async def run() -> None:
        await _wait_for_ever(calls)

    job = run_job(run, ManualThreadPool(), loop)
    loop.close()
    job.start(live_term(), report)
    assert (report.phases, report.events) == (["Failed"], ["start failed"])
    job.stop()
    assert report.events == ["start failed", "stopped"]


def test_a_loop_that_is_closed_in_the_pause_is_a_failure_when_the_restart_is_due(
    loop: asyncio.AbstractEventLoop, timers: Timers
) -> None:
    report = RecordingReport()

    async def run() -> None: ...

    job = run_job(run, ManualThreadPool(), loop, restart="always")
    job.start(live_term(), report)
    spin_loop(loop)
    loop.close()
    assert report.events == []
    timers.pending[-1][1]()
    assert (report.phases, report.events) == (["Starting", "Failed", "Starting", "Failed"], ["start failed"])
    job.stop()
    assert report.events == ["start failed", "stopped"]
