"""The signals that end a command which stays."""

import logging
import os
import signal
import socket
import threading

from masterjob.concurrency.clock import clock

logger = logging.getLogger("masterjob")


REPEAT_WINDOW = 1.0
"""Seconds within which a second signal is taken for the first: Ctrl-C reaches a whole process group, `timeout` and
others signal both the group and the process, and nobody can have changed their mind so soon."""


class ShutdownSignals:
    """SIGTERM and SIGINT, waited for; one that comes later than a moment ends the process as if we were not there.

    The kernel may give a signal to any thread, and Python runs handlers in the main one alone, once it does
    anything. So the main thread waits for the byte that Python writes in whichever thread it was.
    """

    _HANDLED = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for each in self._HANDLED:
            signal.signal(each, lambda _number, _frame: None)

    def wait(self) -> str:
        """Wait for the first one; return its name, as the reason for what follows."""
        while (number := self._receiver.recv(1)[0]) not in self._HANDLED:
            pass
        threading.Thread(target=self._exit_on_second_signal, name="masterjob signals", daemon=True).start()
        name = signal.Signals(number).name
        logger.info("%s: stopping the jobs and releasing the locks", name)
        return name

    def _exit_on_second_signal(self) -> None:
        """End the process by a second signal; on a thread, while the first one is acted on."""
        received_at = clock()
        while (number := self._receiver.recv(1)[0]) not in self._HANDLED or clock() - received_at < REPEAT_WINDOW:
            pass
        logger.warning("%s again: ending at once", signal.Signals(number).name)
        os._exit(128 + number)
