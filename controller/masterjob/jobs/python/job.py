"""Python functions as a job (the port `masterjob.election.ports.EffectJob`)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.jobs.python.callables import make_callable
from masterjob.jobs.python.run import PythonRun
from masterjob.jobs.python.signature import accepts_term


@dataclass(frozen=True, slots=True)
class MasterJob:
    """What the master runs: ``start`` when it is elected, ``stop`` when it must end (None: nothing to call).

    Each may be a function or a coroutine function, with one argument, the term, or with none. ``start`` may
    return once all is running, or stay until the term ends (``term.wait()``). ``stop`` is called even while
    ``start`` has not returned yet, and then once more after it has; a coroutine ``start`` is cancelled
    instead, and awaited, before ``stop`` is called.

    Raises:
        SettingError: ``start`` or ``stop`` is no such function.
    """

    start: Callable[..., object]
    stop: Callable[..., object] | None = None

    def __post_init__(self) -> None:
        accepts_term("start", self.start)
        if self.stop is not None:
            accepts_term("stop", self.stop)


class PythonJob:
    """Runs two functions of the user's as the job of one lock, one run at a time.

    Functions run on ``pool``; coroutine functions on ``loop``, the application's, or where that is None our
    own. What runs on a loop that is closed counts as returned. A loop that only stands still does not: nobody
    can know whether it will go on.

    Raises:
        SettingError: ``start`` or ``stop`` is no function, or needs more than one positional argument.
    """

    def __init__(
        self,
        start: Callable[..., object],
        stop: Callable[..., object] | None,
        pool: ThreadPool,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self._start = make_callable("start", start, pool, loop)
        self._stop = None if stop is None else make_callable("stop", stop, pool, loop)
        self._run: PythonRun | None = None

    def start(self, term: LiveTerm, report: Report) -> None:
        """Begin a run: have the user's start called, if the term is still trusted right before that."""
        self._run = PythonRun(self._start, self._stop, term, report)
        self._run.begin()

    def set_stop_timeout(self, stop_timeout: float) -> None:
        """Nothing: a function takes as long as it takes. What that is too long is for the election to see."""

    def stop(self) -> None:
        """End the run that was begun last. Called again for the same run, it does nothing."""
        if self._run is not None:
            self._run.stop()
