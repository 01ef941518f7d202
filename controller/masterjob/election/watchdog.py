"""Watchdogs that act at a deadline even if everything else hangs.

`TrustWatchdog` is a thread that only waits for the end of the trust, so neither a hung database call nor a blocked
log can delay it. `ExitWatchdog` also works while native code holds the interpreter's lock: it uses the watchdog of
``faulthandler``, a C thread that needs no such lock and ends the process. A process has only one of those: an
application that sets its own replaces ours.
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
"""The longest single wait in seconds: a wait does not count the time that the machine sleeps, our clock does."""


class TrustWatchdog:
    """Calls ``on_expiry`` once at each deadline."""

    def __init__(self, on_expiry: Callable[[], None]) -> None:
        self._on_expiry = on_expiry
        self._deadline = NEVER
        self._closed = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="masterjob-watchdog", daemon=True)
        self._thread.start()

    def set_deadline(self, deadline: float) -> None:
        """Replace the deadline, a local time; `NEVER` for none."""
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
        with self._condition:
            while not self._closed and (remaining := self._deadline - clock()) > 0:
                self._condition.wait(None if remaining == NEVER else min(remaining, WATCHDOG_POLL_INTERVAL))
            self._deadline = NEVER
            return not self._closed


class ExitWatchdog:
    """Ends the process at its deadline, without the help of any Python thread.

    All instances share the watchdog of ``faulthandler``, which is armed for the earliest deadline. It is disarmed
    while the process forks: the child has no thread for it and its lock stays locked, so using it would hang.
    """

    _deadlines: ClassVar[dict["ExitWatchdog", float]] = {}
    _armed_deadline: ClassVar[float] = NEVER
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def set_deadline(self, deadline: float) -> None:
        """Replace the deadline, a local time; `NEVER` for none."""
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
        """Disarm the watchdog, and block changes until the fork is done."""
        cls._lock.acquire()
        cls._arm(NEVER)

    @classmethod
    def after_fork_in_parent(cls) -> None:
        """Arm the watchdog again."""
        cls._arm(min(cls._deadlines.values(), default=NEVER))
        cls._lock.release()

    @classmethod
    def after_fork_in_child(cls) -> None:
        """Remove all deadlines: the terms belong to the parent."""
        cls._deadlines.clear()
        cls._lock.release()


os.register_at_fork(
    before=ExitWatchdog.before_fork,
    after_in_parent=ExitWatchdog.after_fork_in_parent,
    after_in_child=ExitWatchdog.after_fork_in_child,
)


def exit_now() -> None:
    """End the process at once, since a job has outlived its lease."""
    os._exit(1)


def _traceback_file() -> TextIO:
    """Return standard error if it is a real file, else the null device: the watchdog needs a file descriptor."""
    try:
        sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return _null_file()
    return sys.stderr


def _null_file() -> TextIO:
    global _devnull  # noqa: PLW0603 - it must stay open while the watchdog may write
    if _devnull is None:
        _devnull = open(os.devnull, "w")  # noqa: SIM115, PTH123
    return _devnull


_devnull: TextIO | None = None
