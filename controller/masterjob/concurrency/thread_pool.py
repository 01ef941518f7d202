"""Threads for functions that may take for ever (design 3.4, 4)."""

import logging
import threading
from collections import deque
from collections.abc import Callable

_log = logging.getLogger("masterjob.jobs")


class ThreadPool:
    """A pool of daemon threads that grows with what is running and shrinks when that is done.

    Whatever is handed in gets a thread at once, however many others never return, and one thread more stands
    idle: it is the one that can still stop a job when the interpreter exits and no thread can be started any
    more. Idle threads beyond that one leave after ``idle_timeout`` seconds.

    It is no ``ThreadPoolExecutor``: that one joins its threads when the interpreter exits, so a job that
    never returns would keep the process alive, without its election.
    """

    def __init__(self, name: str = "masterjob-job", idle_timeout: float = 10.0) -> None:
        self._name = name
        self._idle_timeout = idle_timeout
        self._queue: deque[Callable[[], None]] = deque()
        # Threads that wait, or will as soon as they run: more than the work, as far as there are threads.
        self._idle_threads = 0
        self._changed = threading.Condition()

    def submit(self, function: Callable[[], None]) -> None:
        """Call ``function`` on a thread of the pool. Never blocks for long, and raises nothing.

        Where no thread can be started, the function waits for the next one that is idle.
        """
        with self._changed:
            self._queue.append(function)
            self._changed.notify()
            while self._idle_threads <= len(self._queue) and self._start_thread():
                pass

    def ensure_idle_thread(self) -> None:
        """Have a thread idle, for whatever may come when none can be started any more."""
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
                _log.warning("no thread for a job's function, which now waits for an idle one: %s", error)
            return False
        return True

    def _run_worker(self) -> None:
        while (function := self._next_function()) is not None:
            try:
                function()
            except BaseException:  # whatever it is, it must not cost the pool a thread that it counts on
                _log.exception("a function of the pool raised")
            del function  # an idle thread must not keep a job's run alive
            with self._changed:
                self._idle_threads += 1

    def _next_function(self) -> Callable[[], None] | None:
        """Wait for work; return None when this thread should leave."""
        with self._changed:
            while not self._queue:
                notified = self._changed.wait(self._idle_timeout if self._idle_threads > 1 else None)
                if not notified and not self._queue and self._idle_threads > 1:
                    self._idle_threads -= 1
                    return None
            self._idle_threads -= 1
            return self._queue.popleft()
