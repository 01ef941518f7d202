"""Where a function of the user's is called: on a thread of the crew, or as a coroutine on an event loop.

Both places keep two promises. ``may_begin`` is asked in the thread that is about to call the function, right
before the call. ``returned`` is called exactly once, when the function has returned (None) or raised (the
error), when it was not allowed to begin, and when its event loop was closed, so that nothing of it goes on.
"""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from masterjob.election.errors import SettingError
from masterjob.election.term import LiveTerm
from masterjob.jobs.crew import Crew
from masterjob.jobs.python.functions import accepts_term, is_coroutine_function
from masterjob.jobs.python.loops import LoopEnd, shared_loop

MayBegin = Callable[[], bool]
Returned = Callable[[BaseException | None], None]
Cancel = Callable[[], None]


class Place(Protocol):
    """A function of the user's, and where it is called."""

    @property
    def can_cancel(self) -> bool:
        """Whether a call that has begun can be cancelled."""

    def call(self, term: LiveTerm, may_begin: MayBegin, returned: Returned) -> Cancel:
        """Have the function called. Never blocks. Return what cancels the call, where that can be."""


def place_of(role: str, function: Callable[..., Any], crew: Crew, loop: asyncio.AbstractEventLoop | None) -> Place:
    """Return where ``function`` is called: a coroutine function on ``loop`` (None: ours), others on the crew.

    Raises:
        SettingError: it can be called neither with one positional argument, the term, nor with none.
    """
    call = function if accepts_term(role, function) else lambda _term: function()
    return OnLoop(loop, call) if is_coroutine_function(function) else OnCrew(crew, role, call)


class OnCrew:
    """A function that is called on a thread of the crew. It can be asked to end, but not cancelled."""

    can_cancel = False

    def __init__(self, crew: Crew, role: str, function: Callable[[LiveTerm], object]) -> None:
        self._crew = crew
        self._role = role
        self._function = function
        crew.stand_by()  # now: when the interpreter exits, no thread could be started any more

    def call(self, term: LiveTerm, may_begin: MayBegin, returned: Returned) -> Cancel:
        """Have the function called on the crew."""
        self._crew.run(lambda: returned(self._outcome(term) if may_begin() else None))
        return lambda: None

    def _outcome(self, term: LiveTerm) -> BaseException | None:
        try:
            result = self._function(term)
        except BaseException as error:  # SystemExit too ends the function, not the thread
            return error
        if inspect.iscoroutine(result):
            result.close()
            return SettingError(f"masterJob.{self._role} returned a coroutine, which nobody awaits: make it async")
        return None


class OnLoop:
    """A coroutine function that is called on an event loop: the application's, or our own."""

    can_cancel = True

    def __init__(
        self, loop: asyncio.AbstractEventLoop | None, function: Callable[[LiveTerm], Awaitable[object]]
    ) -> None:
        self._loop = loop
        self._function = function
        if loop is None:
            shared_loop()  # now, for the same reason

    def call(self, term: LiveTerm, may_begin: MayBegin, returned: Returned) -> Cancel:
        """Have the coroutine function called on the loop."""
        loop = shared_loop() if self._loop is None else self._loop

        async def outcome() -> BaseException | None:
            try:
                if may_begin():
                    await self._function(term)
            except BaseException as error:  # SystemExit would end the application's loop
                return error
            return None

        errand = _Errand(loop, outcome, returned)
        errand.begin()
        return errand.cancel


class _Errand:
    """One task on a loop, begun and cancelled from any thread. Its end is told once, the loop's end too."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        outcome: Callable[[], Coroutine[Any, Any, BaseException | None]],
        returned: Returned,
    ) -> None:
        self._loop = loop
        self._outcome = outcome
        self._returned = returned
        self._told = threading.Lock()  # taken for good by whoever sees the end first
        self._task: asyncio.Task[BaseException | None] | None = None

    def begin(self) -> None:
        self._on_loop(self._create, LoopEnd(self._loop_ended))

    def cancel(self) -> None:
        self._on_loop(self._cancel)

    def _on_loop(self, callback: Callable[..., None], *arguments: LoopEnd) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # it is closed
            self._loop_ended()

    def _create(self, end: LoopEnd) -> None:
        let_go = end.held_by(self._loop)
        self._task = self._loop.create_task(self._outcome())
        self._task.add_done_callback(lambda task: self._done(task, let_go))

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: asyncio.Task[BaseException | None], let_go: Callable[[], None]) -> None:
        self._tell(asyncio.CancelledError() if task.cancelled() else task.result())
        let_go()

    def _loop_ended(self) -> None:
        self._tell(RuntimeError("the event loop of the job is closed: nothing can run there any more"))

    def _tell(self, error: BaseException | None) -> None:
        if self._told.acquire(blocking=False):
            self._returned(error)
