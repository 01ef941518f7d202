"""Event loops for coroutine jobs: our own loop, and the detection of a loop that is closed."""

import asyncio
import logging
import sys
import threading
import weakref
from collections.abc import Callable

logger = logging.getLogger("masterjob.jobs")

_TEN_YEARS = 10 * 365 * 86_400.0  # seconds: a timer that never fires

_shared_lock = threading.Lock()
_shared: tuple[threading.Thread, asyncio.AbstractEventLoop] | None = None


def shared_loop() -> asyncio.AbstractEventLoop:
    """Return this process's own loop. The first call starts it, on a daemon thread.

    A fork gets a new loop, because it does not have the thread.

    Raises:
        RuntimeError: the thread cannot be started.
    """
    global _shared  # noqa: PLW0603  # there is one a process
    with _shared_lock:
        if _shared is None or not _shared[0].is_alive():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_run_forever, args=(loop,), name="masterjob-loop", daemon=True)
            thread.start()
            _shared = (thread, loop)
        return _shared[1]


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop even after a task has raised through it (``SystemExit``): other jobs run on it too."""
    while True:
        try:
            loop.run_forever()
        except BaseException:
            logger.exception("a task of a job raised through the event loop; the loop goes on")
        else:
            return


class LoopCloseDetector:
    """A callback for the end of an event loop, which calls ``on_close`` when the loop drops it.

    asyncio has no hook for a loop's end. But a loop that is closed drops its scheduled callbacks and their
    arguments, and the only reference to this object is such an argument.
    """

    def __init__(self, on_close: Callable[[], None]) -> None:
        self._on_close = on_close

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self._on_close()

    def attach_to(self, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        """Make ``loop`` hold this object, and return a function that undoes it. Both run on the loop's thread."""
        handle = weakref.ref(loop.call_later(_TEN_YEARS, _noop, self))
        return lambda: _cancel_timer(handle())


def _noop(_detector: LoopCloseDetector) -> None: ...


def _cancel_timer(handle: asyncio.TimerHandle | None) -> None:
    if handle is not None:
        handle.cancel()
