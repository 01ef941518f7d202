"""Python functions as a job: `MasterJob`, which users write, and its spec."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.config.fields import Field
from masterjob.election.ports import Job
from masterjob.errors import SettingError
from masterjob.jobs.policy import Restart, RunPolicy, parse_given_policy
from masterjob.jobs.python.callables import make_callable
from masterjob.jobs.python.run import StartStopRun
from masterjob.jobs.python.run_function import RunFunctionRun
from masterjob.jobs.python.signature import accepts_term
from masterjob.jobs.run import JobRunner

FUNCTION_NAMES = ("start", "stop", "run")


@dataclass(frozen=True, slots=True)
class MasterJob:
    """The job of a lock: either ``start``, or ``run``, is called when this instance becomes master.

    Each is a function or a coroutine function that takes one positional argument, the term (`Term`), or none, and
    so is ``stop``, which may be None.

    ``start`` begins the work. It may return when everything is running, or block until the term ends
    (``term.wait()``). ``stop`` must end it. If ``start`` has not returned when the job is stopped, ``stop`` is
    called at once, and again after ``start`` has returned. A coroutine ``start`` is cancelled and awaited instead,
    and then ``stop`` is called.

    ``run`` does the work. If it returns before the term ends, the job has completed; if it raises, it has failed.
    It must return when the term ends, or when ``stop`` is called, if there is one. A coroutine ``run`` is
    cancelled and awaited, and then ``stop`` is called. When ``run`` has returned, ``stop`` is not called.

    ``restart`` says what follows when ``run`` returns or raises, as for a command: ``onFailure`` (the default),
    ``always`` or ``never``. With ``once``, it never runs again once it has completed. ``start_seconds`` is how
    long ``start`` or ``run`` must live to count as running.

    Raises:
        SettingError: a function cannot be called like this, or the options contradict each other.
    """

    start: Callable[..., object] | None = None
    stop: Callable[..., object] | None = None
    run: Callable[..., object] | None = field(default=None, kw_only=True)
    restart: str | None = field(default=None, kw_only=True)
    once: bool | None = field(default=None, kw_only=True)
    start_seconds: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.start is None and self.run is None:
            raise SettingError("masterJob.start is not a function, but None: a job needs start or run")
        if self.start is not None and self.run is not None:
            raise SettingError(
                "masterJob has both start and run: use run for work that ends by itself, else start"
            )
        for name in FUNCTION_NAMES:
            function = getattr(self, name)
            if function is not None:
                accepts_term(name, function)
        self.to_policy()

    def to_policy(self) -> RunPolicy:
        """Return the life of its runs."""
        options = {"restart": self.restart, "once": self.once, "startSeconds": self.start_seconds}
        given = parse_given_policy(Field(options, ("masterJob",)))
        for name, value in [("restart", given.restart), ("once", given.once)]:
            if self.run is None and value:
                raise SettingError(f"masterJob.{name} applies only to run: a start that returns has not completed")
        return given.resolve(Restart.ON_FAILURE)


def as_master_job(found: object) -> MasterJob:
    """Return the job that a mapping with the fields of a `MasterJob`, or an object with its functions, describes.

    Of an object with both ``start`` and ``run``, such as a thread, ``start`` is called.

    Raises:
        SettingError: it does not describe a job.
    """
    if isinstance(found, MasterJob):
        return found
    if isinstance(found, Mapping):
        return MasterJob(**{each.name: found.get(each.name) for each in fields(MasterJob)})
    start, stop, run = (getattr(found, name, None) for name in FUNCTION_NAMES)
    return MasterJob(start, stop, run=run if start is None else None)


@dataclass(frozen=True, slots=True)
class CallableSpec:
    """A `MasterJob` of this process, and the event loop of its coroutine functions (None: a loop of our own).

    A call on a loop that is closed counts as returned. A call on a loop that is merely blocked does not: the loop
    may go on.
    """

    job: MasterJob
    loop: asyncio.AbstractEventLoop | None = None

    def create_job(self, pool: ThreadPool, stop_timeout: float) -> Job:
        """Return the job of one lock. Its functions run on ``pool``, its coroutine functions on the loop.

        The stop timeout does not matter to it, since a function cannot be interrupted: the election acts on a
        stop that takes too long.
        """
        name, create_run = ("start", StartStopRun) if self.job.run is None else ("run", RunFunctionRun)
        function = make_callable(name, getattr(self.job, name), pool, self.loop)
        stop = None if self.job.stop is None else make_callable("stop", self.job.stop, pool, self.loop)
        policy = self.job.to_policy()
        return JobRunner(
            lambda term, report, _stop_timeout: create_run(function, stop, policy, term, report), stop_timeout
        )
