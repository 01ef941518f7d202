"""Daemon threads for functions that may never return."""

import logging
import threading
from collections import deque
from collections.abc import Callable

logger = logging.getLogger("masterjob.jobs")


class ThreadPool:
    """A pool of daemon threads that grows with the number of running functions and shrinks afterwards.

    Each function gets a thread at once, even if many others never return. One more thread stays idle: it can still
    stop a job when the interpreter exits and no thread can be started any more. Further idle threads end after
    ``idle_timeout`` seconds.

    ``ThreadPoolExecutor`` does not fit: it joins its threads when the interpreter exits, so a job that never
    returns would keep the process alive, without its election.
    """

    def __init__(self, name: str = "masterjob-job", idle_timeout: float = 10.0) -> None:
        self._name = name
        self._idle_timeout = idle_timeout
        self._queue: deque[Callable[[], None]] = deque()
        # Threads that wait for work, or will as soon as they run. More than the queue needs, if threads can start.
        self._idle_threads = 0
        self._changed = threading.Condition()

    def submit(self, function: Callable[[], None]) -> None:
        """Call ``function`` on a thread of the pool. This never blocks for long, and never raises.

        If no thread can be started, the function waits for an idle one.
        """
        with self._changed:
            self._queue.append(function)
            self._changed.notify()
            while self._idle_threads <= len(self._queue) and self._start_thread():
                pass

    def ensure_idle_thread(self) -> None:
        """Start an idle thread if there is none, for work that comes when no thread can be started any more."""
        with self._changed:
            if not self._idle_threads:
                self._start_thread()

    def _start_thread(self) -> bool:
        thread = threading.Thread(target=self._run_worker, name=self._name, daemon=True)
        self._idle_threads += 1
        try:
            thread.start()
        except RuntimeError as error:  # the interpreter exits (3.12 and later), or there are too many
            self._idle_threads -= 1
            if self._idle_threads < len(self._queue):
                logger.warning("no thread can be started; a function of a job waits for an idle one: %s", error)
            return False
        return True

    def _run_worker(self) -> None:
        while (function := self._next_function()) is not None:
            try:
                function()
            except BaseException:  # also SystemExit: the pool must not lose the thread
                logger.exception("a function on the thread pool raised")
            del function  # an idle thread must not keep a job's run alive
            with self._changed:
                self._idle_threads += 1

    def _next_function(self) -> Callable[[], None] | None:
        """Wait for work. Return None if this thread should end."""
        with self._changed:
            while not self._queue:
                notified = self._changed.wait(self._idle_timeout if self._idle_threads > 1 else None)
                if not notified and not self._queue and self._idle_threads > 1:
                    self._idle_threads -= 1
                    return None
            self._idle_threads -= 1
            return self._queue.popleft()
