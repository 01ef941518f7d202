"""A job of coroutine functions, on a loop that only the test runs."""

import asyncio
import functools
import gc
import threading
from collections.abc import Iterator

import pytest

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.term import LiveTerm
from masterjob.jobs.python import loops
from masterjob.jobs.python.loops import shared_loop
from tests.jobs.fixtures import ManualThreadPool, RecordingReport, live_term, python_job, spin_loop
from tests.timeouts import WAIT_TIMEOUT


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    if not loop.is_closed():
        spin_loop(loop)
        loop.close()
    gc.collect()  # the warnings about a closed loop belong to the test that closed it


class RecordedCalls(list[str]):
    """Coroutine functions that record what happens to them."""

    async def start(self) -> None:
        self.append("start")

    async def stop(self) -> None:
        self.append("stop")

    async def run_until_cancelled(self) -> None:
        self.append("start")
        try:
            await asyncio.Event().wait()
        finally:
            self.append("start ends")

    def start_sync(self) -> None:
        self.append("start")

    def stop_sync(self) -> None:
        self.append("stop")


def stop_shared_loop() -> None:
    assert loops._shared is not None
    thread, loop = loops._shared
    loop.call_soon_threadsafe(loop.stop)
    thread.join(WAIT_TIMEOUT)
    loop.close()


def test_coroutines_run_on_the_loop_that_was_given(loop: asyncio.AbstractEventLoop) -> None:
    calls, report = RecordedCalls(), RecordingReport()
    job = python_job(calls.start, calls.stop, ManualThreadPool(), loop)
    job.start(live_term(), report)
    assert calls == []
    spin_loop(loop)
    assert (calls, report.events) == (["start"], ["started"])
    job.stop()
    assert calls == ["start"]
    spin_loop(loop)
    assert (calls, report.events) == (["start", "stop"], ["started", "stopped"])


def test_coroutines_get_the_term_too(loop: asyncio.AbstractEventLoop) -> None:
    term, received = live_term(), list[object]()

    async def start(term: LiveTerm) -> None:
        received.append(term)

    async def stop(name: str, term: LiveTerm) -> None:
        received.append((name, term))

    job = python_job(start, functools.partial(stop, "mine"), ManualThreadPool(), loop)
    job.start(term, RecordingReport())
    spin_loop(loop)
    job.stop()
    spin_loop(loop)
    assert received == [term, ("mine", term)]


def test_a_start_that_stays_is_cancelled_and_awaited_before_the_one_stop(
    loop: asyncio.AbstractEventLoop,
) -> None:
    calls, report = RecordedCalls(), RecordingReport()
    job = python_job(calls.run_until_cancelled, calls.stop, ManualThreadPool(), loop)
    job.start(live_term(), report)
    spin_loop(loop)
    assert report.events == []
    job.stop()
    spin_loop(loop)
    assert calls == ["start", "start ends", "stop"]
    assert report.events == ["stopped"]


def test_a_start_that_is_slow_to_be_cancelled_is_awaited(loop: asyncio.AbstractEventLoop) -> None:
    calls, report, tidy = RecordedCalls(), RecordingReport(), asyncio.Event()

    async def start() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await tidy.wait()
            calls.append("tidied")

    job = python_job(start, calls.stop, ManualThreadPool(), loop)
    job.start(live_term(), report)
    spin_loop(loop)
    job.stop()
    spin_loop(loop)
    assert (calls, report.events) == ([], [])
    tidy.set()
    spin_loop(loop)
    assert (calls, report.events) == (["tidied", "stop"], ["stopped"])


def test_a_start_that_stays_is_cancelled_if_there_is_no_stop(loop: asyncio.AbstractEventLoop) -> None:
    calls, report = RecordedCalls(), RecordingReport()
    job = python_job(calls.run_until_cancelled, None, ManualThreadPool(), loop)
    job.start(live_term(), report)
    spin_loop(loop)
    job.stop()
    spin_loop(loop)
    assert (calls, report.events) == (["start", "start ends"], ["stopped"])


@pytest.mark.parametrize("moment", ["stopped", "lost"])
def test_a_term_that_ends_before_the_loop_runs_starts_nothing(
    moment: str, loop: asyncio.AbstractEventLoop
) -> None:
    calls, report, term = RecordedCalls(), RecordingReport(), live_term()
    job = python_job(calls.start, calls.stop, ManualThreadPool(), loop)
    job.start(term, report)
    if moment == "stopped":
        job.stop()
    term.end()
    spin_loop(loop)
    assert (calls, report.events) == ([], ["stopped"])


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(2), KeyboardInterrupt()])
def test_a_coroutine_that_raises_fails_the_start_and_leaves_the_loop_alone(
    error: BaseException, loop: asyncio.AbstractEventLoop
) -> None:
    calls, report = RecordedCalls(), RecordingReport()

    async def start() -> None:
        raise error

    job = python_job(start, calls.stop, ManualThreadPool(), loop)
    job.start(live_term(), report)
    spin_loop(loop)
    assert (report.events, report.errors) == (["start failed"], [error])
    job.stop()
    spin_loop(loop)
    assert (calls, report.events) == (["stop"], ["start failed", "stopped"])


def test_a_stop_that_raises_counts_as_returned(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    report = RecordingReport()

    async def stop() -> None:
        raise ValueError("cannot")

    job = python_job(RecordedCalls().start, stop, ManualThreadPool(), loop)
    job.start(live_term(), report)
    spin_loop(loop)
    job.stop()
    spin_loop(loop)
    assert report.events == ["started", "stopped"]
    assert "ValueError: cannot" in caplog.text


def test_a_start_that_other_code_cancels_has_failed(loop: asyncio.AbstractEventLoop) -> None:
    calls, report = RecordedCalls(), RecordingReport()
    job = python_job(calls.run_until_cancelled, None, ManualThreadPool(), loop)
    job.start(live_term(), report)
    spin_loop(loop)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    spin_loop(loop)
    assert report.events == ["start failed"]


def test_a_start_that_is_cancelled_before_its_first_step_has_failed(loop: asyncio.AbstractEventLoop) -> None:
    calls, report = RecordedCalls(), RecordingReport()
    job = python_job(calls.run_until_cancelled, None, ManualThreadPool(), loop)
    job.start(live_term(), report)
    spin_loop(loop, 1)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    spin_loop(loop)
    assert (calls, report.events) == ([], ["start failed"])


def test_a_function_can_start_what_a_coroutine_stops(loop: asyncio.AbstractEventLoop) -> None:
    calls, report, pool = RecordedCalls(), RecordingReport(), ManualThreadPool()
    job = python_job(calls.start_sync, calls.stop, pool, loop)
    job.start(live_term(), report)
    pool.run_all()
    job.stop()
    spin_loop(loop)
    assert (calls, report.events) == (["start", "stop"], ["started", "stopped"])


def test_a_coroutine_that_stops_a_function_in_its_start_comes_twice(loop: asyncio.AbstractEventLoop) -> None:
    calls, report, pool = RecordedCalls(), RecordingReport(), ManualThreadPool()

    def start() -> None:
        job.stop()
        spin_loop(loop)
        calls.append("start returns")

    job = python_job(start, calls.stop, pool, loop)
    job.start(live_term(), report)
    pool.run_all()
    spin_loop(loop)
    assert (calls, report.events) == (["stop", "start returns", "stop"], ["stopped"])


def test_a_coroutine_can_start_what_a_function_stops(loop: asyncio.AbstractEventLoop) -> None:
    calls, report, pool = RecordedCalls(), RecordingReport(), ManualThreadPool()
    job = python_job(calls.run_until_cancelled, calls.stop_sync, pool, loop)
    job.start(live_term(), report)
    spin_loop(loop)
    job.stop()
    pool.run_all()
    assert calls == ["start"]
    spin_loop(loop)
    pool.run_all()
    assert (calls, report.events) == (["start", "start ends", "stop"], ["stopped"])


def test_on_a_closed_loop_start_fails_and_stop_is_over_at_once(loop: asyncio.AbstractEventLoop) -> None:
    calls, report = RecordedCalls(), RecordingReport()
    loop.close()
    job = python_job(calls.start, calls.stop, ManualThreadPool(), loop)
    job.start(live_term(), report)
    assert report.events == ["start failed"]
    assert "event loop of the job is closed" in str(report.errors[0])
    job.stop()
    assert (calls, report.events) == ([], ["start failed", "stopped"])


def test_a_loop_that_was_closed_after_the_start_counts_as_stopped(loop: asyncio.AbstractEventLoop) -> None:
    calls, report = RecordedCalls(), RecordingReport()
    job = python_job(calls.start, calls.stop, ManualThreadPool(), loop)
    job.start(live_term(), report)
    spin_loop(loop)
    loop.close()
    job.stop()
    assert (calls, report.events) == (["start"], ["started", "stopped"])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # never awaited: its loop was closed
@pytest.mark.parametrize("iterations", [0, 1, 10])
def test_a_loop_that_is_closed_during_a_start_ends_it(iterations: int, loop: asyncio.AbstractEventLoop) -> None:
    calls, report = RecordedCalls(), RecordingReport()
    job = python_job(calls.run_until_cancelled, calls.stop, ManualThreadPool(), loop)
    job.start(live_term(), report)
    spin_loop(loop, iterations)
    loop.close()
    assert report.events == ["start failed"]
    job.stop()
    assert report.events == ["start failed", "stopped"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("iterations", [0, 1, 10])
def test_a_loop_that_is_closed_during_a_stop_ends_it(iterations: int, loop: asyncio.AbstractEventLoop) -> None:
    report = RecordingReport()
    job = python_job(RecordedCalls().start, RecordedCalls().run_until_cancelled, ManualThreadPool(), loop)
    job.start(live_term(), report)
    spin_loop(loop)
    job.stop()
    spin_loop(loop, iterations)
    assert report.events == ["started"]
    loop.close()
    assert report.events == ["started", "stopped"]


def test_a_loop_that_is_closed_after_a_stop_in_time_is_no_error(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    report = RecordingReport()
    job = python_job(RecordedCalls().start, RecordedCalls().stop, ManualThreadPool(), loop)
    job.start(live_term(), report)
    job.stop()
    loop.close()
    assert (report.events, caplog.text) == (["stopped"], "")


def test_a_loop_that_refuses_to_be_called_counts_as_closed(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, report = RecordedCalls(), RecordingReport()

    def refuse(*_arguments: object) -> None:
        raise RuntimeError("Event loop is closed")

    job = python_job(calls.run_until_cancelled, calls.stop, ManualThreadPool(), loop)
    job.start(live_term(), report)
    spin_loop(loop)
    monkeypatch.setattr(loop, "call_soon_threadsafe", refuse)
    job.stop()
    assert (calls, report.events) == (["start"], ["stopped"])
    monkeypatch.undo()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    spin_loop(loop)
    assert report.events == ["stopped"]


def test_a_function_still_starting_is_waited_for_when_the_loop_of_its_stop_is_closed(
    loop: asyncio.AbstractEventLoop,
) -> None:
    calls, report, pool = RecordedCalls(), RecordingReport(), ManualThreadPool()

    def start() -> None:
        loop.close()
        job.stop()
        assert report.events == []

    job = python_job(start, calls.stop, pool, loop)
    job.start(live_term(), report)
    pool.run_all()
    assert (calls, report.events) == ([], ["stopped"])


def test_nothing_is_left_on_the_loop_by_a_run_that_is_over(loop: asyncio.AbstractEventLoop) -> None:
    calls = RecordedCalls()
    job = python_job(calls.start, calls.stop, ManualThreadPool(), loop)
    job.start(live_term(), RecordingReport())
    spin_loop(loop)
    job.stop()
    spin_loop(loop)
    assert asyncio.all_tasks(loop) == set()
    assert [handle for handle in loop._scheduled if not handle.cancelled()] == []  # type: ignore[attr-defined]


def test_an_application_that_closes_its_loop_ends_the_job() -> None:
    calls, report = RecordedCalls(), RecordingReport()

    async def application() -> None:
        job = python_job(calls.run_until_cancelled, None, ManualThreadPool(), asyncio.get_running_loop())
        job.start(live_term(), report)
        while not calls:
            await asyncio.sleep(0)

    asyncio.run(application())
    assert report.events == ["start failed"]


def test_without_a_loop_coroutines_run_on_one_loop_of_our_own() -> None:
    ran_on = list[tuple[str, asyncio.AbstractEventLoop]]()

    async def record_thread_and_loop() -> None:
        ran_on.append((threading.current_thread().name, asyncio.get_running_loop()))

    for _ in range(2):
        report = RecordingReport()
        job = python_job(record_thread_and_loop, record_thread_and_loop, ThreadPool())
        job.start(live_term(), report)
        report.wait_for("started")
        job.stop()
        report.wait_for("stopped")
    assert set(ran_on) == {("masterjob-loop", shared_loop())}
    assert len(ran_on) == 4


def test_a_loop_of_our_own_whose_thread_is_gone_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    dead_thread = threading.Thread(target=lambda: None)
    dead_thread.start()
    dead_thread.join(WAIT_TIMEOUT)
    old_loop = asyncio.new_event_loop()
    monkeypatch.setattr(loops, "_shared", (dead_thread, old_loop))
    assert shared_loop() is not old_loop
    old_loop.close()
    stop_shared_loop()


def test_a_coroutine_job_has_its_loop_before_it_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "_shared", None)
    python_job(print, RecordedCalls().stop, ManualThreadPool())
    assert loops._shared is not None
    stop_shared_loop()
