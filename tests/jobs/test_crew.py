"""The crew: nobody is held up by somebody who blocks, and nothing is left over afterwards."""

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from masterjob.jobs import crew as crew_module
from masterjob.jobs.crew import Crew
from masterjob.jobs.python.job import PythonJob
from masterjob.jobs.python.loops import shared_loop
from tests.jobs.stage import SOON


class FewThreads:
    """A system that has only so many threads for a crew of this name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, crew: str, most: int) -> None:
        self.left = most
        start = threading.Thread.start

        def start_if_any_is_left(thread: threading.Thread) -> None:
            if thread.name == crew:
                if self.left <= 0:
                    raise RuntimeError("can't start new thread")
                self.left -= 1
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_if_any_is_left)


class CountedCrew(Crew):
    """A crew that counts its threads."""

    def __init__(self, name: str, idle: float) -> None:
        super().__init__(name, idle)
        self.came, self.left = 0, threading.Semaphore(0)

    def _grow(self) -> bool:
        self.came += 1
        return super()._grow()

    def _serve(self) -> None:
        super()._serve()
        self.left.release()


def meeting(*waits: Callable[[float], object]) -> Callable[[], None]:
    """Return a function that waits for each of these, one after another."""

    def wait() -> None:
        for each in waits:
            each(SOON)

    return wait


def members(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_functions_that_never_return_hold_up_nobody() -> None:
    crew, for_ever, done = Crew(), threading.Event(), threading.Event()
    for _ in range(50):
        crew.run(meeting(for_ever.wait))
    crew.run(done.set)
    assert done.wait(SOON)
    assert not for_ever.is_set()
    for_ever.set()


def test_ten_thousand_functions_that_return_at_once_do_not_take_a_thread_each() -> None:
    crew, done = Crew("crew-many"), threading.Semaphore(0)
    for _ in range(10_000):
        crew.run(done.release)
    for _ in range(10_000):
        assert done.acquire(timeout=SOON)
    assert len(members("crew-many")) < 2_500


def test_idle_threads_leave_but_for_one() -> None:
    crew, gate, met = CountedCrew("crew-idle", idle=0.01), threading.Event(), threading.Barrier(21)
    for _ in range(20):
        crew.run(meeting(met.wait, gate.wait))
    met.wait(SOON)
    assert len(members("crew-idle")) >= 20
    gate.set()
    for _ in range(crew.came - 1):
        assert crew.left.acquire(timeout=SOON)
    assert not crew.left.acquire(timeout=0.1)
    done = threading.Event()
    crew.run(done.set)
    assert done.wait(SOON)


def test_of_two_threads_that_were_idle_too_long_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, work = Crew(), threading.Event()
    crew._idle = 2

    def the_other_leaves_first(_timeout: float | None) -> bool:
        in_time, crew._idle = crew._idle == 1, 1
        if in_time:
            crew._work.append(meeting(work.wait))
        return in_time

    monkeypatch.setattr(crew._changed, "wait", the_other_leaves_first)
    assert crew._next() is not None


def test_a_thread_is_kept_idle_beside_those_that_are_busy() -> None:
    crew, gate, met = CountedCrew("crew-spare", idle=60.0), threading.Event(), threading.Barrier(2)
    crew.run(meeting(met.wait, gate.wait))
    met.wait(SOON)
    assert crew.came == 2
    gate.set()


def test_a_job_has_its_thread_before_it_needs_it() -> None:
    crew = CountedCrew("crew-early", idle=60.0)
    PythonJob(shared_loop, None, crew, None)
    assert crew.came == 1


def test_a_crew_that_stands_by_works_where_no_thread_can_be_started_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FewThreads(monkeypatch, "crew-stands-by", 1)
    crew, done = Crew("crew-stands-by"), threading.Event()
    for _ in range(3):
        crew.stand_by()
    crew.run(done.set)
    assert done.wait(SOON)


def test_a_function_that_raises_costs_no_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    FewThreads(monkeypatch, "crew-raises", 2)
    crew, done = Crew("crew-raises"), threading.Event()

    def leave() -> None:
        raise SystemExit(3)

    for _ in range(5):
        crew.run(leave)
    crew.run(done.set)
    assert done.wait(SOON)
    assert "a function of the crew raised" in caplog.text


def test_where_no_thread_can_be_started_the_work_waits_for_an_idle_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    FewThreads(monkeypatch, "crew-few", 2)
    crew, gate, done, met = Crew("crew-few"), threading.Event(), threading.Event(), threading.Barrier(3)
    for _ in range(2):
        crew.run(meeting(met.wait, gate.wait))
    met.wait(SOON)
    crew.run(done.set)
    assert not done.is_set()
    assert "waits for an idle one: can't start new thread" in caplog.text
    gate.set()
    assert done.wait(SOON)


def test_threads_that_were_missing_are_started_as_soon_as_they_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system = FewThreads(monkeypatch, "crew-later", 0)
    crew, done, met = Crew("crew-later"), threading.Event(), threading.Barrier(3)
    for _ in range(2):
        crew.run(meeting(met.wait))
    system.left = 100
    crew.run(done.set)
    met.wait(SOON)
    assert done.wait(SOON)


AT_EXIT = """
    import atexit, threading, time
    from masterjob.election.term import LiveTerm
    from masterjob.election.values import Term
    from masterjob.jobs.crew import Crew
    from masterjob.jobs.python.job import PythonJob

    class Report:
        def __init__(self): self.begun, self.over = threading.Event(), threading.Event()
        def started(self): self.begun.set()
        def start_failed(self, error): print("failed", error)
        def stopped(self): self.over.set()

    asked, running, report = threading.Event(), threading.Event(), Report()

    def start_for_as_long_as_it_lasts():
        running.set()
        asked.wait()          # nothing but stop ends it, and stop needs a thread of its own

    async def start_on_a_loop():
        running.set()

    def stop():
        print("stopping", flush=True)
        asked.set()

    async def stop_on_a_loop():
        stop()

    job = PythonJob({start}, {stop}, Crew(), None)
    job.start(LiveTerm(Term("lock", 1), lambda: 60.0, None), report)
    running.wait(20)

    def leave():
        job.stop()
        print("stopped" if report.over.wait(20) else "never stopped", flush=True)

    atexit.register(leave)
"""


@pytest.mark.parametrize("start", ["start_for_as_long_as_it_lasts", "start_on_a_loop"])
@pytest.mark.parametrize("stop", ["stop", "stop_on_a_loop"])
def test_a_job_is_stopped_when_the_interpreter_exits(start: str, stop: str) -> None:
    program = textwrap.dedent(AT_EXIT).format(start=start, stop=stop)
    source_root = str(Path(crew_module.__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={"PYTHONPATH": source_root},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = result.stdout.split("\n")
    assert lines[0] == "stopping"
    assert lines[-2] == "stopped"
    assert (result.returncode, result.stderr) == (0, "")


def test_a_function_that_never_returns_does_not_keep_the_process() -> None:
    program = "import threading; from masterjob.jobs.crew import Crew; Crew().run(threading.Event().wait)"
    source_root = str(Path(crew_module.__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": source_root}, timeout=60, check=False
    )
    assert result.returncode == 0
