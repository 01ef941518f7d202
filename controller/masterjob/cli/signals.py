"""The signals that end ``run`` and ``operator``."""

import contextlib
import logging
import os
import signal
import socket
import threading

from masterjob.concurrency.clock import clock
from masterjob.errors import MasterJobError
from masterjob.log_fields import log_fields

logger = logging.getLogger("masterjob")

REPEAT_WINDOW = 1.0
"""Seconds within which a second signal counts as the first: Ctrl-C reaches a whole process group, and `timeout`
and others signal both the group and the process."""


_FAILED = b"\0"
"""The byte that ends `ShutdownSignals.wait` without a signal: no signal has this number."""


class ShutdownSignals:
    """SIGTERM, SIGINT and SIGHUP, which a terminal sends when it is closed.

    The first one ends `wait`; another one after `REPEAT_WINDOW` ends the process at once. An ignored SIGHUP stays
    ignored (``nohup``).

    The kernel may give a signal to any thread, and Python runs handlers in the main thread only, once that runs
    Python code again. So the main thread waits for the byte that Python writes whichever thread took the signal.
    """

    _HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __init__(self) -> None:
        self._error: MasterJobError | None = None
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for each in self._HANDLED:
            if each is not signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, lambda _number, _frame: None)

    def fail(self, error: MasterJobError) -> None:
        """Make `wait` raise this error. May be called by any thread."""
        self._error = error
        with contextlib.suppress(BlockingIOError):  # full of signals: `wait` is about to return
            self._sender.send(_FAILED)

    def wait(self) -> str:
        """Wait for the first signal, and return its name as the reason of the shutdown.

        Raises:
            MasterJobError: the error that `fail` was called with.
        """
        while (number := self._receiver.recv(1)[0]) not in self._HANDLED:
            if self._error is not None:
                raise self._error
        threading.Thread(target=self._exit_on_second_signal, name="masterjob-signals", daemon=True).start()
        name = signal.Signals(number).name
        logger.info(
            "%s: stopping the jobs and releasing the locks", name, extra=log_fields(event="shutdown", reason=name)
        )
        return name

    def _exit_on_second_signal(self) -> None:
        received_at = clock()
        while (number := self._receiver.recv(1)[0]) not in self._HANDLED or clock() - received_at < REPEAT_WINDOW:
            pass
        logger.warning("%s again: exiting at once", signal.Signals(number).name)
        os._exit(128 + number)
