"""The surroundings of a job in tests: a term, a report, and threads and loops that the test controls."""

import asyncio
import threading
from collections.abc import Callable

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.ports import Job
from masterjob.election.term import LiveTerm
from masterjob.election.values import Term
from masterjob.job_status import RunStatus
from masterjob.jobs.python.job import CallableSpec, MasterJob
from tests.timeouts import WAIT_TIMEOUT


def refuse_guard(connection: object, term: Term) -> None:
    raise AssertionError("this term has no guard")


def live_term(trust: float = 60.0) -> LiveTerm:
    return LiveTerm(Term("the lock", 7), lambda: trust, refuse_guard)


def python_job(
    start: Callable[..., object],
    stop: Callable[..., object] | None,
    pool: ThreadPool,
    loop: asyncio.AbstractEventLoop | None = None,
    start_seconds: float = 3600.0,
) -> Job:
    """Return a job that counts as running only when its start has returned, unless the test wants otherwise."""
    return CallableSpec(MasterJob(start, stop, start_seconds=start_seconds), loop).create_job(pool, 1.0)


def run_job(
    run: Callable[..., object],
    pool: ThreadPool,
    loop: asyncio.AbstractEventLoop | None = None,
    *,
    stop: Callable[..., object] | None = None,
    restart: str | None = None,
    once: bool | None = None,
    start_seconds: float = 3600.0,
) -> Job:
    """Return a job with a ``run`` function."""
    job = MasterJob(stop=stop, run=run, restart=restart, once=once, start_seconds=start_seconds)
    return CallableSpec(job, loop).create_job(pool, 1.0)


class RecordingReport:
    """A report that records its events in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.errors: list[BaseException] = []
        self.runs: list[RunStatus] = []
        self._changed = threading.Condition()

    def _record(self, event: str) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def started(self) -> None:
        self._record("started")

    def start_failed(self, error: BaseException) -> None:
        self.errors.append(error)
        self._record("start failed")

    def stopped(self) -> None:
        self._record("stopped")

    def progress(self, run: RunStatus) -> None:
        with self._changed:
            self.runs.append(run)
            self._changed.notify_all()

    @property
    def phases(self) -> list[str]:
        return [run.phase.value for run in self.runs]

    def wait_for_run(self, condition: Callable[[RunStatus], bool]) -> RunStatus:
        """Wait for a status of the run that fulfils the condition, and return the first."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(map(condition, self.runs)), WAIT_TIMEOUT), self.runs
            return next(filter(condition, self.runs))

    def wait_for(self, event: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: event in self.events, WAIT_TIMEOUT), (
                f"no {event}, only {self.events}"
            )


class ManualThreadPool(ThreadPool):
    """A pool without threads: the test itself runs the submitted functions, in its own thread."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: list[Callable[[], None]] = []

    def submit(self, function: Callable[[], None]) -> None:
        self.pending.append(function)

    def ensure_idle_thread(self) -> None: ...

    def run_next(self) -> None:
        self.pending.pop(0)()

    def run_all(self) -> None:
        while self.pending:
            self.run_next()


def spin_loop(loop: asyncio.AbstractEventLoop, iterations: int = 10) -> None:
    """Run what is due on a loop that only the test runs."""
    for _ in range(iterations):
        loop.call_soon(loop.stop)
        loop.run_forever()
