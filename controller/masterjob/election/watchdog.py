"""The guard: ends what the clock says is over, whatever else hangs (design 3.4).

Two of them. `TrustWatchdog` is a thread that does nothing but wait for the end of the trust, so that neither a
hanging
database call nor a blocked log can hold it up. `ExitWatchdog` covers what no Python thread can: native code that
keeps the interpreter's lock. It uses the watchdog of ``faulthandler``, a thread of C code that needs no such lock
and ends the process. There is one such watchdog in a process: an application that sets its own replaces ours.
"""

import faulthandler
import os
import sys
import threading
from collections.abc import Callable
from typing import ClassVar, TextIO

from masterjob.concurrency.clock import clock
from masterjob.election.core.session import NEVER

WATCHDOG_POLL_INTERVAL = 0.5
"""Seconds that a wait lasts at most: a wait does not count the time that the machine sleeps, our clock does."""


class TrustWatchdog:
    """Calls ``on_expiry`` when the time that was last given to `set_deadline` has come."""

    def __init__(self, on_expiry: Callable[[], None]) -> None:
        self._on_expiry = on_expiry
        self._deadline = NEVER
        self._closed = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="masterjob watchdog", daemon=True)
        self._thread.start()

    def set_deadline(self, deadline: float) -> None:
        """Sound the alarm at this local time instead of any other; `NEVER` for none."""
        with self._condition:
            sooner = deadline < self._deadline
            self._deadline = deadline
            if sooner:
                self._condition.notify()

    def close(self) -> None:
        """End the thread."""
        with self._condition:
            self._closed = True
            self._condition.notify()

    def _run(self) -> None:
        while self._wait_for_deadline():
            self._on_expiry()

    def _wait_for_deadline(self) -> bool:
        """Wait for the alarm's time; False when closed. Each alarm sounds once."""
        with self._condition:
            while not self._closed and (remaining := self._deadline - clock()) > 0:
                self._condition.wait(None if remaining == NEVER else min(remaining, WATCHDOG_POLL_INTERVAL))
            self._deadline = NEVER
            return not self._closed


class ExitWatchdog:
    """Ends the process at a given time unless it is set on or off before; needs no Python thread to run.

    All timers of a process share the one watchdog: it is set for the earliest of them. It is off while the process
    forks: in the child its thread is missing and its lock held, so that whoever touched it there waited for ever.
    """

    _deadlines: ClassVar[dict["ExitWatchdog", float]] = {}
    _armed_deadline: ClassVar[float] = NEVER
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def set_deadline(self, deadline: float) -> None:
        """Exit at this local time instead of any other of this timer; `NEVER` for not at all."""
        with self._lock:
            self._deadlines[self] = deadline
            if deadline == NEVER:
                del self._deadlines[self]
            self._arm(min(self._deadlines.values(), default=NEVER))

    @classmethod
    def _arm(cls, deadline: float) -> None:
        if deadline == cls._armed_deadline:
            return
        cls._armed_deadline = deadline
        if deadline == NEVER:
            faulthandler.cancel_dump_traceback_later()
        else:
            faulthandler.dump_traceback_later(max(0.001, deadline - clock()), exit=True, file=_traceback_file())

    @classmethod
    def before_fork(cls) -> None:
        """Take the watchdog away, and let nobody set it meanwhile."""
        cls._lock.acquire()
        cls._arm(NEVER)

    @classmethod
    def after_fork_in_parent(cls) -> None:
        """Set it again."""
        cls._arm(min(cls._deadlines.values(), default=NEVER))
        cls._lock.release()

    @classmethod
    def after_fork_in_child(cls) -> None:
        """Begin anew: the terms are the parent's."""
        cls._deadlines.clear()
        cls._lock.release()


os.register_at_fork(
    before=ExitWatchdog.before_fork,
    after_in_parent=ExitWatchdog.after_fork_in_parent,
    after_in_child=ExitWatchdog.after_fork_in_child,
)


def exit_now() -> None:
    """End the process at once: the lease is over and the job is not."""
    os._exit(1)


def _traceback_file() -> TextIO:
    """The standard error where it is a real file, since the watchdog writes to nothing else."""
    try:
        sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return _null_file()
    return sys.stderr


def _null_file() -> TextIO:
    global _devnull  # noqa: PLW0603 - it has to stay open for as long as the watchdog may write
    if _devnull is None:
        _devnull = open(os.devnull, "w")  # noqa: SIM115, PTH123
    return _devnull


_devnull: TextIO | None = None
