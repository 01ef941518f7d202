"""The guard: ends what the clock says is over, whatever else hangs (design 3.4).

Two of them. `Guard` is a thread that does nothing but wait for the end of the trust, so that neither a hanging
database call nor a blocked log can hold it up. `ExitTimer` covers what no Python thread can: native code that
keeps the interpreter's lock. It uses the watchdog of ``faulthandler``, a thread of C code that needs no such lock
and ends the process. There is one such watchdog in a process: an application that sets its own replaces ours.
"""

import faulthandler
import os
import sys
import threading
from collections.abc import Callable
from typing import ClassVar, TextIO

from masterjob.election.clock import clock
from masterjob.election.machine.lease import NEVER

SLICE = 0.5
"""Seconds that a wait lasts at most: a wait does not count the time that the machine sleeps, our clock does."""


class Guard:
    """Calls ``alarm`` when the time that was last given to `set` has come."""

    def __init__(self, alarm: Callable[[], None]) -> None:
        self._alarm = alarm
        self._at = NEVER
        self._closed = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="masterjob guard", daemon=True)
        self._thread.start()

    def set(self, at: float) -> None:
        """Sound the alarm at this local time instead of any other; `NEVER` for none."""
        with self._condition:
            sooner = at < self._at
            self._at = at
            if sooner:
                self._condition.notify()

    def close(self) -> None:
        """End the thread."""
        with self._condition:
            self._closed = True
            self._condition.notify()

    def _run(self) -> None:
        while self._wait():
            self._alarm()

    def _wait(self) -> bool:
        """Wait for the alarm's time; False when closed. Each alarm sounds once."""
        with self._condition:
            while not self._closed and (left := self._at - clock()) > 0:
                self._condition.wait(None if left == NEVER else min(left, SLICE))
            self._at = NEVER
            return not self._closed


class ExitTimer:
    """Ends the process at a given time unless it is set on or off before; needs no Python thread to run.

    All timers of a process share the one watchdog: it is set for the earliest of them. It is off while the process
    forks: in the child its thread is missing and its lock held, so that whoever touched it there waited for ever.
    """

    _all: ClassVar[dict["ExitTimer", float]] = {}
    _armed_for: ClassVar[float] = NEVER
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def set(self, at: float) -> None:
        """Exit at this local time instead of any other of this timer; `NEVER` for not at all."""
        with self._lock:
            self._all[self] = at
            if at == NEVER:
                del self._all[self]
            self._arm(min(self._all.values(), default=NEVER))

    @classmethod
    def _arm(cls, at: float) -> None:
        if at == cls._armed_for:
            return
        cls._armed_for = at
        if at == NEVER:
            faulthandler.cancel_dump_traceback_later()
        else:
            faulthandler.dump_traceback_later(max(0.001, at - clock()), exit=True, file=_where_to_tell())

    @classmethod
    def before_fork(cls) -> None:
        """Take the watchdog away, and let nobody set it meanwhile."""
        cls._lock.acquire()
        cls._arm(NEVER)

    @classmethod
    def after_in_parent(cls) -> None:
        """Set it again."""
        cls._arm(min(cls._all.values(), default=NEVER))
        cls._lock.release()

    @classmethod
    def after_in_child(cls) -> None:
        """Begin anew: the terms are the parent's."""
        cls._all.clear()
        cls._lock.release()


os.register_at_fork(
    before=ExitTimer.before_fork,
    after_in_parent=ExitTimer.after_in_parent,
    after_in_child=ExitTimer.after_in_child,
)


def exit_now() -> None:
    """End the process at once: the lease is over and the job is not."""
    os._exit(1)


def _where_to_tell() -> TextIO:
    """The standard error where it is a real file, since the watchdog writes to nothing else."""
    try:
        sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return _nowhere()
    return sys.stderr


def _nowhere() -> TextIO:
    global _devnull  # noqa: PLW0603 - it has to stay open for as long as the watchdog may write
    if _devnull is None:
        _devnull = open(os.devnull, "w")  # noqa: SIM115, PTH123
    return _devnull


_devnull: TextIO | None = None
