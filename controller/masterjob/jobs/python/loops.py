"""Event loops for coroutine jobs: the one of our own, and how the end of anybody's is noticed."""

import asyncio
import logging
import sys
import threading
import weakref
from collections.abc import Callable

_log = logging.getLogger("masterjob.jobs")

_TEN_YEARS = 10 * 365 * 86_400.0  # seconds: a timer that never comes due

_shared_lock = threading.Lock()
_shared: tuple[threading.Thread, asyncio.AbstractEventLoop] | None = None


def shared_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of our own, which runs in a daemon thread from the first call on.

    A process has one. A fork has no thread that runs it, and gets another.

    Raises:
        RuntimeError: the thread cannot be started.
    """
    global _shared  # noqa: PLW0603  # it is the process's, as the interpreter's own threads are
    with _shared_lock:
        if _shared is None or not _shared[0].is_alive():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_run_forever, args=(loop,), name="masterjob-loop", daemon=True)
            thread.start()
            _shared = (thread, loop)
        return _shared[1]


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    """Outlive what a task may raise through the loop (``SystemExit``): other jobs run on it too."""
    while True:
        try:
            loop.run_forever()
        except BaseException:
            _log.exception("a task of a job has raised through the event loop; the loop goes on")
        else:
            return


class LoopCloseDetector:
    """Calls ``on_close`` when the loop that holds the only reference to it is closed, or drops it otherwise.

    A loop tells nobody that it is closed; but closing drops the callbacks that it still had, with what they
    were to be called with.
    """

    def __init__(self, on_close: Callable[[], None]) -> None:
        self._on_close = on_close

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self._on_close()

    def attach_to(self, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        """Have ``loop`` hold this; return what makes it let go. Both only in the loop's own thread."""
        handle = weakref.ref(loop.call_later(_TEN_YEARS, _noop, self))
        return lambda: _cancel_timer(handle())


def _noop(_detector: LoopCloseDetector) -> None:
    """Be what the timer of `LoopCloseDetector` would call."""


def _cancel_timer(handle: asyncio.TimerHandle | None) -> None:
    if handle is not None:
        handle.cancel()
