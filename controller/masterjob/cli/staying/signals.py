"""The signals that end a command which stays."""

import logging
import signal
import socket

logger = logging.getLogger("masterjob")


class Signals:
    """SIGTERM and SIGINT, waited for; a second one ends the process as if we were not there.

    The kernel may give a signal to any thread, and Python runs handlers in the main one alone, once it does
    anything. So the main thread waits for the byte that Python writes in whichever thread it was.
    """

    _OURS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for each in self._OURS:
            signal.signal(each, lambda _number, _frame: None)

    def wait(self) -> str:
        """Wait for the first one; return its name, as the reason for what follows."""
        while (number := self._receiver.recv(1)[0]) not in self._OURS:
            pass
        for each in self._OURS:
            signal.signal(each, signal.SIG_DFL)
        name = signal.Signals(number).name
        logger.info("%s: stopping the jobs and releasing the locks", name)
        return name
