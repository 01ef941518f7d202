"""Python functions as a job: `MasterJob`, which users write, and its spec."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.ports import Job
from masterjob.job_status import START_SECONDS
from masterjob.jobs.policy import RunPolicy
from masterjob.jobs.python.callables import make_callable
from masterjob.jobs.python.run import PythonRun
from masterjob.jobs.python.signature import accepts_term
from masterjob.jobs.run import JobRunner


@dataclass(frozen=True, slots=True)
class MasterJob:
    """The job of a lock: ``start`` is called when this instance becomes master, ``stop`` when it must end.

    Each is a function or a coroutine function that takes one positional argument, the term (`Term`), or none.
    ``stop`` may be None. ``start`` may return when everything is running, or block until the term ends
    (``term.wait()``). If ``start`` has not returned when the job is stopped, ``stop`` is called at once, and again
    after ``start`` has returned. A coroutine ``start`` is cancelled and awaited instead, and then ``stop`` is
    called.

    Raises:
        SettingError: ``start`` or ``stop`` cannot be called like this.
    """

    start: Callable[..., object]
    stop: Callable[..., object] | None = None

    def __post_init__(self) -> None:
        accepts_term("start", self.start)
        if self.stop is not None:
            accepts_term("stop", self.stop)


@dataclass(frozen=True, slots=True)
class CallableSpec:
    """A `MasterJob` of this process, and the event loop of its coroutine functions (None: a loop of our own).

    A call on a loop that is closed counts as returned. A call on a loop that is merely blocked does not: the loop
    may go on.
    """

    job: MasterJob
    loop: asyncio.AbstractEventLoop | None = None
    start_seconds: float = START_SECONDS
    """A ``start`` that has not returned after this time counts as running."""

    def create_job(self, pool: ThreadPool, stop_timeout: float) -> Job:
        """Return the job of one lock. Its functions run on ``pool``, its coroutine functions on the loop.

        The stop timeout does not matter to it, since a function cannot be interrupted: the election acts on a
        stop that takes too long.
        """
        start = make_callable("start", self.job.start, pool, self.loop)
        stop = None if self.job.stop is None else make_callable("stop", self.job.stop, pool, self.loop)
        policy = RunPolicy(start_seconds=self.start_seconds)
        return JobRunner(
            lambda term, report, _stop_timeout: PythonRun(start, stop, policy, term, report), stop_timeout
        )
