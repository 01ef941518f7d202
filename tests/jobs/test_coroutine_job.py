"""A job of coroutine functions: the loop is the test's own, and moves when the test turns it."""

import asyncio
import functools
import gc
import threading
from collections.abc import Iterator

import pytest

from masterjob.election.term import LiveTerm
from masterjob.jobs.crew import Crew
from masterjob.jobs.python import loops
from masterjob.jobs.python.job import PythonJob
from masterjob.jobs.python.loops import shared_loop
from tests.jobs.stage import SOON, HandCrew, Notes, live_term, turn


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    if not loop.is_closed():
        turn(loop)
        loop.close()
    gc.collect()  # what a closed loop left behind complains in the test that closed it, not in a later one


class Calls(list[str]):
    """Coroutine functions that say what happens to them."""

    async def start(self) -> None:
        self.append("start")

    async def stop(self) -> None:
        self.append("stop")

    async def stay(self) -> None:
        self.append("start")
        try:
            await asyncio.Event().wait()
        finally:
            self.append("start ends")

    def started(self) -> None:
        self.append("start")

    def stopped(self) -> None:
        self.append("stop")


def end_shared_loop() -> None:
    assert loops._shared is not None
    thread, loop = loops._shared
    loop.call_soon_threadsafe(loop.stop)
    thread.join(SOON)
    loop.close()


def test_coroutines_run_on_the_loop_that_was_given(loop: asyncio.AbstractEventLoop) -> None:
    calls, notes = Calls(), Notes()
    job = PythonJob(calls.start, calls.stop, HandCrew(), loop)
    job.start(live_term(), notes)
    assert calls == []
    turn(loop)
    assert (calls, notes.told) == (["start"], ["started"])
    job.stop()
    assert calls == ["start"]
    turn(loop)
    assert (calls, notes.told) == (["start", "stop"], ["started", "stopped"])


def test_coroutines_get_the_term_too(loop: asyncio.AbstractEventLoop) -> None:
    term, got = live_term(), list[object]()

    async def start(term: LiveTerm) -> None:
        got.append(term)

    async def stop(name: str, term: LiveTerm) -> None:
        got.append((name, term))

    job = PythonJob(start, functools.partial(stop, "mine"), HandCrew(), loop)
    job.start(term, Notes())
    turn(loop)
    job.stop()
    turn(loop)
    assert got == [term, ("mine", term)]


def test_a_start_that_stays_is_cancelled_and_awaited_before_the_one_stop(
    loop: asyncio.AbstractEventLoop,
) -> None:
    calls, notes = Calls(), Notes()
    job = PythonJob(calls.stay, calls.stop, HandCrew(), loop)
    job.start(live_term(), notes)
    turn(loop)
    assert notes.told == []
    job.stop()
    turn(loop)
    assert calls == ["start", "start ends", "stop"]
    assert notes.told == ["stopped"]


def test_a_start_that_takes_its_time_to_be_cancelled_is_waited_for(loop: asyncio.AbstractEventLoop) -> None:
    calls, notes, tidy = Calls(), Notes(), asyncio.Event()

    async def start() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await tidy.wait()
            calls.append("tidied")

    job = PythonJob(start, calls.stop, HandCrew(), loop)
    job.start(live_term(), notes)
    turn(loop)
    job.stop()
    turn(loop)
    assert (calls, notes.told) == ([], [])
    tidy.set()
    turn(loop)
    assert (calls, notes.told) == (["tidied", "stop"], ["stopped"])


def test_a_start_that_stays_is_cancelled_where_there_is_no_stop(loop: asyncio.AbstractEventLoop) -> None:
    calls, notes = Calls(), Notes()
    job = PythonJob(calls.stay, None, HandCrew(), loop)
    job.start(live_term(), notes)
    turn(loop)
    job.stop()
    turn(loop)
    assert (calls, notes.told) == (["start", "start ends"], ["stopped"])


@pytest.mark.parametrize("moment", ["stopped", "lost"])
def test_a_term_that_ends_before_the_loop_comes_round_starts_nothing(
    moment: str, loop: asyncio.AbstractEventLoop
) -> None:
    calls, notes, term = Calls(), Notes(), live_term()
    job = PythonJob(calls.start, calls.stop, HandCrew(), loop)
    job.start(term, notes)
    if moment == "stopped":
        job.stop()
    term.end()
    turn(loop)
    assert (calls, notes.told) == ([], ["stopped"])


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(2), KeyboardInterrupt()])
def test_a_coroutine_that_raises_fails_the_start_and_leaves_the_loop_alone(
    error: BaseException, loop: asyncio.AbstractEventLoop
) -> None:
    calls, notes = Calls(), Notes()

    async def start() -> None:
        raise error

    job = PythonJob(start, calls.stop, HandCrew(), loop)
    job.start(live_term(), notes)
    turn(loop)
    assert (notes.told, notes.errors) == (["start failed"], [error])
    job.stop()
    turn(loop)
    assert (calls, notes.told) == (["stop"], ["start failed", "stopped"])


def test_a_stop_that_raises_counts_as_returned(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes()

    async def stop() -> None:
        raise ValueError("cannot")

    job = PythonJob(Calls().start, stop, HandCrew(), loop)
    job.start(live_term(), notes)
    turn(loop)
    job.stop()
    turn(loop)
    assert notes.told == ["started", "stopped"]
    assert "ValueError: cannot" in caplog.text


def test_a_start_that_somebody_else_cancels_has_failed(loop: asyncio.AbstractEventLoop) -> None:
    calls, notes = Calls(), Notes()
    job = PythonJob(calls.stay, None, HandCrew(), loop)
    job.start(live_term(), notes)
    turn(loop)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    turn(loop)
    assert notes.told == ["start failed"]


def test_a_start_that_is_cancelled_before_its_first_step_has_failed(loop: asyncio.AbstractEventLoop) -> None:
    calls, notes = Calls(), Notes()
    job = PythonJob(calls.stay, None, HandCrew(), loop)
    job.start(live_term(), notes)
    turn(loop, 1)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    turn(loop)
    assert (calls, notes.told) == ([], ["start failed"])


def test_a_function_can_start_what_a_coroutine_stops(loop: asyncio.AbstractEventLoop) -> None:
    calls, notes, crew = Calls(), Notes(), HandCrew()
    job = PythonJob(calls.started, calls.stop, crew, loop)
    job.start(live_term(), notes)
    crew.settle()
    job.stop()
    turn(loop)
    assert (calls, notes.told) == (["start", "stop"], ["started", "stopped"])


def test_a_coroutine_that_stops_a_function_in_its_start_comes_twice(loop: asyncio.AbstractEventLoop) -> None:
    calls, notes, crew = Calls(), Notes(), HandCrew()

    def start() -> None:
        job.stop()
        turn(loop)
        calls.append("start returns")

    job = PythonJob(start, calls.stop, crew, loop)
    job.start(live_term(), notes)
    crew.settle()
    turn(loop)
    assert (calls, notes.told) == (["stop", "start returns", "stop"], ["stopped"])


def test_a_coroutine_can_start_what_a_function_stops(loop: asyncio.AbstractEventLoop) -> None:
    calls, notes, crew = Calls(), Notes(), HandCrew()
    job = PythonJob(calls.stay, calls.stopped, crew, loop)
    job.start(live_term(), notes)
    turn(loop)
    job.stop()
    crew.settle()
    assert calls == ["start"]
    turn(loop)
    crew.settle()
    assert (calls, notes.told) == (["start", "start ends", "stop"], ["stopped"])


def test_on_a_closed_loop_start_fails_and_stop_is_over_at_once(loop: asyncio.AbstractEventLoop) -> None:
    calls, notes = Calls(), Notes()
    loop.close()
    job = PythonJob(calls.start, calls.stop, HandCrew(), loop)
    job.start(live_term(), notes)
    assert notes.told == ["start failed"]
    assert "event loop of the job is closed" in str(notes.errors[0])
    job.stop()
    assert (calls, notes.told) == ([], ["start failed", "stopped"])


def test_a_loop_that_was_closed_after_the_start_counts_as_stopped(loop: asyncio.AbstractEventLoop) -> None:
    calls, notes = Calls(), Notes()
    job = PythonJob(calls.start, calls.stop, HandCrew(), loop)
    job.start(live_term(), notes)
    turn(loop)
    loop.close()
    job.stop()
    assert (calls, notes.told) == (["start"], ["started", "stopped"])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # never awaited: the loop was closed over its head
@pytest.mark.parametrize("turns", [0, 1, 10])
def test_a_loop_that_is_closed_over_a_start_ends_it(turns: int, loop: asyncio.AbstractEventLoop) -> None:
    calls, notes = Calls(), Notes()
    job = PythonJob(calls.stay, calls.stop, HandCrew(), loop)
    job.start(live_term(), notes)
    turn(loop, turns)
    loop.close()
    assert notes.told == ["start failed"]
    job.stop()
    assert notes.told == ["start failed", "stopped"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("turns", [0, 1, 10])
def test_a_loop_that_is_closed_over_a_stop_ends_it(turns: int, loop: asyncio.AbstractEventLoop) -> None:
    notes = Notes()
    job = PythonJob(Calls().start, Calls().stay, HandCrew(), loop)
    job.start(live_term(), notes)
    turn(loop)
    job.stop()
    turn(loop, turns)
    assert notes.told == ["started"]
    loop.close()
    assert notes.told == ["started", "stopped"]


def test_a_loop_that_is_closed_after_a_stop_in_time_is_no_error(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes()
    job = PythonJob(Calls().start, Calls().stop, HandCrew(), loop)
    job.start(live_term(), notes)
    job.stop()
    loop.close()
    assert (notes.told, caplog.text) == (["stopped"], "")


def test_a_loop_that_refuses_to_be_called_counts_as_closed(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, notes = Calls(), Notes()

    def refuse(*_arguments: object) -> None:
        raise RuntimeError("Event loop is closed")

    job = PythonJob(calls.stay, calls.stop, HandCrew(), loop)
    job.start(live_term(), notes)
    turn(loop)
    monkeypatch.setattr(loop, "call_soon_threadsafe", refuse)
    job.stop()
    assert (calls, notes.told) == (["start"], ["stopped"])
    monkeypatch.undo()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    turn(loop)
    assert notes.told == ["stopped"]


def test_a_function_still_starting_is_waited_for_when_the_loop_of_its_stop_is_closed(
    loop: asyncio.AbstractEventLoop,
) -> None:
    calls, notes, crew = Calls(), Notes(), HandCrew()

    def start() -> None:
        loop.close()
        job.stop()
        assert notes.told == []

    job = PythonJob(start, calls.stop, crew, loop)
    job.start(live_term(), notes)
    crew.settle()
    assert (calls, notes.told) == ([], ["stopped"])


def test_nothing_is_left_on_the_loop_by_a_run_that_is_over(loop: asyncio.AbstractEventLoop) -> None:
    calls = Calls()
    job = PythonJob(calls.start, calls.stop, HandCrew(), loop)
    job.start(live_term(), Notes())
    turn(loop)
    job.stop()
    turn(loop)
    assert asyncio.all_tasks(loop) == set()
    assert [handle for handle in loop._scheduled if not handle.cancelled()] == []  # type: ignore[attr-defined]


def test_an_application_that_ends_its_loop_under_a_job_ends_the_job() -> None:
    calls, notes = Calls(), Notes()

    async def application() -> None:
        job = PythonJob(calls.stay, None, HandCrew(), asyncio.get_running_loop())
        job.start(live_term(), notes)
        while not calls:
            await asyncio.sleep(0)

    asyncio.run(application())
    assert notes.told == ["start failed"]


def test_without_a_loop_coroutines_run_on_one_loop_of_our_own() -> None:
    where = list[tuple[str, asyncio.AbstractEventLoop]]()

    async def here() -> None:
        where.append((threading.current_thread().name, asyncio.get_running_loop()))

    for _ in range(2):
        notes = Notes()
        job = PythonJob(here, here, Crew(), None)
        job.start(live_term(), notes)
        notes.wait_for("started")
        job.stop()
        notes.wait_for("stopped")
    assert set(where) == {("masterjob-loop", shared_loop())}
    assert len(where) == 4


def test_a_loop_of_our_own_whose_thread_is_gone_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Thread(target=lambda: None)
    gone.start()
    gone.join(SOON)
    old = asyncio.new_event_loop()
    monkeypatch.setattr(loops, "_shared", (gone, old))
    assert shared_loop() is not old
    old.close()
    end_shared_loop()


def test_a_coroutine_job_has_its_loop_before_it_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "_shared", None)
    PythonJob(print, Calls().stop, HandCrew(), None)
    assert loops._shared is not None
    end_shared_loop()
