"""The pool: a function that blocks delays no other, and no thread is left over afterwards."""

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from masterjob.concurrency import thread_pool
from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.jobs.python.loops import shared_loop
from tests.jobs.fixtures import python_job
from tests.timeouts import WAIT_TIMEOUT


class LimitedThreads:
    """A system that can start at most ``limit`` threads for a pool of this name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, thread_name: str, limit: int) -> None:
        self.threads_left = limit
        start = threading.Thread.start

        def start_within_limit(thread: threading.Thread) -> None:
            if thread.name == thread_name:
                if self.threads_left <= 0:
                    raise RuntimeError("can't start new thread")
                self.threads_left -= 1
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_within_limit)


class CountingThreadPool(ThreadPool):
    """A pool that counts its threads."""

    def __init__(self, name: str, idle_timeout: float) -> None:
        super().__init__(name, idle_timeout)
        self.threads_started, self.threads_exited = 0, threading.Semaphore(0)

    def _start_thread(self) -> bool:
        self.threads_started += 1
        return super()._start_thread()

    def _run_worker(self) -> None:
        super()._run_worker()
        self.threads_exited.release()


def wait_for_each(*waits: Callable[[float], object]) -> Callable[[], None]:
    """Return a function that waits for each of these, one after another."""

    def wait() -> None:
        for each in waits:
            each(WAIT_TIMEOUT)

    return wait


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_functions_that_never_return_delay_no_other() -> None:
    pool, for_ever, done = ThreadPool(), threading.Event(), threading.Event()
    for _ in range(50):
        pool.submit(wait_for_each(for_ever.wait))
    pool.submit(done.set)
    assert done.wait(WAIT_TIMEOUT)
    assert not for_ever.is_set()
    for_ever.set()


def test_ten_thousand_functions_that_return_at_once_do_not_take_a_thread_each() -> None:
    pool, done = ThreadPool("pool-many"), threading.Semaphore(0)
    for _ in range(10_000):
        pool.submit(done.release)
    for _ in range(10_000):
        assert done.acquire(timeout=WAIT_TIMEOUT)
    assert len(threads_named("pool-many")) < 2_500


def test_idle_threads_leave_but_for_one() -> None:
    pool, unblock, all_running = (
        CountingThreadPool("pool-idle", idle_timeout=0.01),
        threading.Event(),
        threading.Barrier(21),
    )
    for _ in range(20):
        pool.submit(wait_for_each(all_running.wait, unblock.wait))
    all_running.wait(WAIT_TIMEOUT)
    assert len(threads_named("pool-idle")) >= 20
    unblock.set()
    for _ in range(pool.threads_started - 1):
        assert pool.threads_exited.acquire(timeout=WAIT_TIMEOUT)
    assert not pool.threads_exited.acquire(timeout=0.1)
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(WAIT_TIMEOUT)


def test_of_two_threads_that_were_idle_too_long_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, work = ThreadPool(), threading.Event()
    pool._idle_threads = 2

    def other_thread_leaves_first(_timeout: float | None) -> bool:
        notified, pool._idle_threads = pool._idle_threads == 1, 1
        if notified:
            pool._queue.append(wait_for_each(work.wait))
        return notified

    monkeypatch.setattr(pool._changed, "wait", other_thread_leaves_first)
    assert pool._next_function() is not None


def test_a_thread_is_kept_idle_beside_those_that_are_busy() -> None:
    pool, unblock, all_running = (
        CountingThreadPool("pool-spare", idle_timeout=60.0),
        threading.Event(),
        threading.Barrier(2),
    )
    pool.submit(wait_for_each(all_running.wait, unblock.wait))
    all_running.wait(WAIT_TIMEOUT)
    assert pool.threads_started == 2
    unblock.set()


def test_a_job_has_its_thread_before_it_needs_it() -> None:
    pool = CountingThreadPool("pool-early", idle_timeout=60.0)
    python_job(shared_loop, None, pool)
    assert pool.threads_started == 1


def test_a_pool_with_an_idle_thread_works_if_no_thread_can_be_started_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    LimitedThreads(monkeypatch, "pool-stands-by", 1)
    pool, done = ThreadPool("pool-stands-by"), threading.Event()
    for _ in range(3):
        pool.ensure_idle_thread()
    pool.submit(done.set)
    assert done.wait(WAIT_TIMEOUT)


def test_a_function_that_raises_costs_no_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    LimitedThreads(monkeypatch, "pool-raises", 2)
    pool, done = ThreadPool("pool-raises"), threading.Event()

    def leave() -> None:
        raise SystemExit(3)

    for _ in range(5):
        pool.submit(leave)
    pool.submit(done.set)
    assert done.wait(WAIT_TIMEOUT)
    assert "a function on the thread pool raised" in caplog.text


def test_if_no_thread_can_be_started_the_work_waits_for_an_idle_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    LimitedThreads(monkeypatch, "pool-few", 2)
    pool, unblock, done, all_running = (
        ThreadPool("pool-few"),
        threading.Event(),
        threading.Event(),
        threading.Barrier(3),
    )
    for _ in range(2):
        pool.submit(wait_for_each(all_running.wait, unblock.wait))
    all_running.wait(WAIT_TIMEOUT)
    pool.submit(done.set)
    assert not done.is_set()
    assert "waits for an idle one: can't start new thread" in caplog.text
    unblock.set()
    assert done.wait(WAIT_TIMEOUT)


def test_threads_that_were_missing_are_started_as_soon_as_they_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = LimitedThreads(monkeypatch, "pool-later", 0)
    pool, done, all_running = ThreadPool("pool-later"), threading.Event(), threading.Barrier(3)
    for _ in range(2):
        pool.submit(wait_for_each(all_running.wait))
    threads.threads_left = 100
    pool.submit(done.set)
    all_running.wait(WAIT_TIMEOUT)
    assert done.wait(WAIT_TIMEOUT)


AT_EXIT = """
    import atexit, threading, time
    from masterjob.election.term import LiveTerm
    from masterjob.election.values import Term
    from masterjob.concurrency.thread_pool import ThreadPool
    from masterjob.jobs.python.job import CallableSpec, MasterJob

    class Report:
        def __init__(self): self.begun, self.over = threading.Event(), threading.Event()
        def started(self): self.begun.set()
        def start_failed(self, error): print("failed", error)
        def progress(self, run): pass
        def stopped(self): self.over.set()

    stop_called, running, report = threading.Event(), threading.Event(), Report()

    def start_for_as_long_as_it_lasts():
        running.set()
        stop_called.wait()    # only stop ends it, and stop needs another thread

    async def start_on_a_loop():
        running.set()

    def stop():
        print("stopping", flush=True)
        stop_called.set()

    async def stop_on_a_loop():
        stop()

    job = CallableSpec(MasterJob({start}, {stop})).create_job(ThreadPool(), 1.0)
    job.start(LiveTerm(Term("lock", 1), lambda: 60.0, None), report)
    running.wait(100)

    def leave():
        job.stop()
        print("stopped" if report.over.wait(100) else "never stopped", flush=True)

    atexit.register(leave)
"""


@pytest.mark.parametrize("start", ["start_for_as_long_as_it_lasts", "start_on_a_loop"])
@pytest.mark.parametrize("stop", ["stop", "stop_on_a_loop"])
def test_a_job_is_stopped_when_the_interpreter_exits(start: str, stop: str) -> None:
    program = textwrap.dedent(AT_EXIT).format(start=start, stop=stop)
    source_root = str(Path(thread_pool.__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={"PYTHONPATH": source_root},
        capture_output=True,
        text=True,
        timeout=WAIT_TIMEOUT,
        check=False,
    )
    lines = result.stdout.split("\n")
    assert lines[0] == "stopping"
    assert lines[-2] == "stopped"
    assert (result.returncode, result.stderr) == (0, "")


def test_a_function_that_never_returns_does_not_keep_the_process() -> None:
    program = (
        "import threading; from masterjob.concurrency.thread_pool import ThreadPool; "
        "ThreadPool().submit(threading.Event().wait)"
    )
    source_root = str(Path(thread_pool.__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": source_root}, timeout=WAIT_TIMEOUT, check=False
    )
    assert result.returncode == 0
