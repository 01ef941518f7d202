"""Threads for functions that may take for ever (design 3.4, 4)."""

import logging
import threading
from collections import deque
from collections.abc import Callable

_log = logging.getLogger("masterjob.jobs")


class Crew:
    """A pool of daemon threads that grows with what is running and shrinks when that is done.

    Whatever is handed in gets a thread at once, however many others never return, and one thread more stands
    idle: it is the one that can still stop a job when the interpreter exits and no thread can be started any
    more. Idle threads beyond that one leave after ``idle`` seconds.

    It is no ``ThreadPoolExecutor``: that one joins its threads when the interpreter exits, so a job that
    never returns would keep the process alive, without its election.
    """

    def __init__(self, name: str = "masterjob-job", idle: float = 10.0) -> None:
        self._name = name
        self._patience = idle
        self._work: deque[Callable[[], None]] = deque()
        # Threads that wait, or will as soon as they run: more than the work, as far as there are threads.
        self._idle = 0
        self._changed = threading.Condition()

    def run(self, function: Callable[[], None]) -> None:
        """Call ``function`` on a thread of the crew. Never blocks for long, and raises nothing.

        Where no thread can be started, the function waits for the next one that is idle.
        """
        with self._changed:
            self._work.append(function)
            self._changed.notify()
            while self._idle <= len(self._work) and self._grow():
                pass

    def stand_by(self) -> None:
        """Have a thread idle, for whatever may come when none can be started any more."""
        with self._changed:
            if not self._idle:
                self._grow()

    def _grow(self) -> bool:
        thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
        self._idle += 1
        try:
            thread.start()
        except RuntimeError as error:  # the interpreter exits (3.12 and later), or there are too many
            self._idle -= 1
            if self._idle < len(self._work):
                _log.warning("no thread for a job's function, which now waits for an idle one: %s", error)
            return False
        return True

    def _serve(self) -> None:
        while (function := self._next()) is not None:
            try:
                function()
            except BaseException:  # whatever it is, it must not cost the crew a thread that it counts on
                _log.exception("a function of the crew raised")
            del function  # an idle thread must not keep a job's run alive
            with self._changed:
                self._idle += 1

    def _next(self) -> Callable[[], None] | None:
        """Wait for work; return None when this thread should leave."""
        with self._changed:
            while not self._work:
                in_time = self._changed.wait(self._patience if self._idle > 1 else None)
                if not in_time and not self._work and self._idle > 1:
                    self._idle -= 1
                    return None
            self._idle -= 1
            return self._work.popleft()
