"""Calls of the user's functions: on a thread of the pool, or as a coroutine on an event loop.

Both guarantee two things. ``try_begin`` is called right before the function, on the same thread. ``on_return`` is
called exactly once: when the function has returned (with None) or raised (with the error), when ``try_begin`` has
returned False, or when the event loop is closed, so that the function cannot go on.
"""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.term import LiveTerm
from masterjob.errors import SettingError
from masterjob.jobs.python.loops import LoopCloseDetector, shared_loop
from masterjob.jobs.python.signature import accepts_term, is_coroutine_function

TryBegin = Callable[[], bool]
OnReturn = Callable[[BaseException | None], None]
Cancel = Callable[[], None]


class JobCallable(Protocol):
    """A user's function, called on a thread or an event loop."""

    @property
    def can_cancel(self) -> bool:
        """Whether a running call can be cancelled."""

    def call(self, term: LiveTerm, try_begin: TryBegin, on_return: OnReturn) -> Cancel:
        """Schedule a call without blocking. Return a function that cancels it, if that is possible."""


def make_callable(
    function_name: str, function: Callable[..., Any], pool: ThreadPool, loop: asyncio.AbstractEventLoop | None
) -> JobCallable:
    """Return a `JobCallable` on ``loop`` (None: our own) for a coroutine function, and on ``pool`` for others.

    Raises:
        SettingError: ``function`` requires other arguments than the term.
    """
    with_term = function if accepts_term(function_name, function) else lambda _term: function()
    return (
        LoopCallable(loop, with_term)
        if is_coroutine_function(function)
        else ThreadCallable(pool, function_name, with_term)
    )


class ThreadCallable:
    """A function that is called on a thread of the pool. It cannot be cancelled."""

    can_cancel = False

    def __init__(self, pool: ThreadPool, function_name: str, function: Callable[[LiveTerm], object]) -> None:
        self._pool = pool
        self._function_name = function_name
        self._function = function
        pool.ensure_idle_thread()  # now: when the interpreter exits, no thread can be started any more

    def call(self, term: LiveTerm, try_begin: TryBegin, on_return: OnReturn) -> Cancel:
        """Schedule the function on the pool."""
        self._pool.submit(lambda: on_return(self._invoke(term) if try_begin() else None))
        return lambda: None

    def _invoke(self, term: LiveTerm) -> BaseException | None:
        try:
            result = self._function(term)
        except BaseException as error:  # also SystemExit, which must end the function but not the thread
            return error
        if inspect.iscoroutine(result):
            result.close()
            return SettingError(
                f"masterJob.{self._function_name} returned a coroutine, which is not awaited: make it async"
            )
        return None


class LoopCallable:
    """A coroutine function that is called on an event loop, the application's or our own."""

    can_cancel = True

    def __init__(
        self, loop: asyncio.AbstractEventLoop | None, function: Callable[[LiveTerm], Awaitable[object]]
    ) -> None:
        self._loop = loop
        self._function = function
        if loop is None:
            shared_loop()  # now, for the same reason as the thread above

    def call(self, term: LiveTerm, try_begin: TryBegin, on_return: OnReturn) -> Cancel:
        """Schedule the coroutine function on the loop."""
        loop = shared_loop() if self._loop is None else self._loop

        async def invoke() -> BaseException | None:
            try:
                if try_begin():
                    await self._function(term)
            except BaseException as error:  # SystemExit would end the application's loop
                return error
            return None

        loop_task = _LoopTask(loop, invoke, on_return)
        loop_task.begin()
        return loop_task.cancel


class _LoopTask:
    """One task on a loop, which any thread may start and cancel. Its end, or the loop's, is reported once."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        invoke: Callable[[], Coroutine[Any, Any, BaseException | None]],
        on_return: OnReturn,
    ) -> None:
        self._loop = loop
        self._invoke = invoke
        self._on_return = on_return
        self._reported = threading.Lock()  # acquired once, by the first to see the end
        self._task: asyncio.Task[BaseException | None] | None = None

    def begin(self) -> None:
        self._call_on_loop(self._create_task, LoopCloseDetector(self._on_loop_closed))

    def cancel(self) -> None:
        self._call_on_loop(self._cancel_task)

    def _call_on_loop(self, callback: Callable[..., None], *arguments: LoopCloseDetector) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # it is closed
            self._on_loop_closed()

    def _create_task(self, close_detector: LoopCloseDetector) -> None:
        detach = close_detector.attach_to(self._loop)
        self._task = self._loop.create_task(self._invoke())
        self._task.add_done_callback(lambda task: self._on_task_done(task, detach))

    def _cancel_task(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _on_task_done(self, task: asyncio.Task[BaseException | None], detach: Callable[[], None]) -> None:
        self._report_once(asyncio.CancelledError() if task.cancelled() else task.result())
        detach()

    def _on_loop_closed(self) -> None:
        self._report_once(RuntimeError("the event loop of the job is closed: the job cannot run any more"))

    def _report_once(self, error: BaseException | None) -> None:
        if self._reported.acquire(blocking=False):
            self._on_return(error)
