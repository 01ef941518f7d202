"""SIGTERM in an application: shut down first, then do what the signal did before.

Python runs a signal handler in the main thread only, and only once that thread runs Python code again. If the
main thread blocks the signal, as the C library does while it starts a thread, the kernel gives it to another
thread. Then a main thread that waits in C code is not woken up, and the jobs would go on. So a thread of this
module learns of the signal in two ways: by the byte that Python writes into a pipe at once, whichever thread took
the signal, and from the handler when that runs.

Python writes to one pipe only, its wake-up file descriptor. If an event loop has set its own, or sets it later,
ours is not used: the other one wakes up the loop, and so the handler runs.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

_HANDLER_RAN = b"\0"
"""The byte that the handler writes into the pipe. Every other byte is the number of a signal, and none is 0."""


class SigtermHandler:
    """Calls ``shutdown`` with the reason when SIGTERM arrives, on a thread of its own."""

    def __init__(self, shutdown: Callable[[str], object]) -> None:
        self._shutdown = shutdown
        self._previous_handler: signal._HANDLER = None
        self._pipe: tuple[int, int] | None = None
        self._restore_default: Callable[[], object] = _restored_by_handler
        self._has_shut_down = self._handler_has_run = False

    def install(self) -> None:
        """Install the handler. Works in the main thread only; an ignored signal stays ignored."""
        if self._pipe is not None or threading.current_thread() is not threading.main_thread():
            return
        previous_handler = signal.getsignal(signal.SIGTERM)
        if previous_handler in (signal.SIG_IGN, None):
            return
        self._restore_default = _make_default_restorer()  # now: an import may fail during the shutdown
        # Both before anything else: another thread may fork at this moment.
        self._previous_handler, self._pipe = previous_handler, os.pipe()
        _install_wakeup_fd(*self._pipe)
        threading.Thread(target=self._listen, args=self._pipe[:1], name="masterjob-signals", daemon=True).start()
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        # This may interrupt any code, so it only sets a handler and writes without waiting.
        self._handler_has_run = True
        if callable(self._previous_handler):
            self._notify()
            self._previous_handler(number, frame)
        elif self._pipe is None or self._has_shut_down:  # None: in a forked child, called by a later handler
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._notify()

    def _notify(self) -> None:
        if self._pipe is not None:
            with contextlib.suppress(BlockingIOError):  # full: the thread is about to read it anyway
                os.write(self._pipe[1], _HANDLER_RAN)

    def _listen(self, reader: int) -> None:
        while True:
            received = os.read(reader, 512)
            is_ours = signal.SIGTERM in received and signal.getsignal(signal.SIGTERM) == self._on_sigterm
            if _HANDLER_RAN in received or is_ours:
                self._shut_down()
            # Otherwise it is another signal, or a handler that was set later decides.

    def _shut_down(self) -> None:
        """Shut down, then end the process if the signal would have, or see to it that the previous handler runs.

        A second signal changes nothing: until all has stopped, SIGTERM keeps our handler.
        """
        try:
            self._shutdown("SIGTERM")
        finally:
            is_first, self._has_shut_down = not self._has_shut_down, True
            if not callable(self._previous_handler):
                self._restore_default()
                os.kill(os.getpid(), signal.SIGTERM)
            elif is_first and not self._handler_has_run:
                _wake_main_thread()

    def after_fork_in_child(self) -> None:
        """Restore the previous handler in a forked child, which has its parent's pipe and not our thread."""
        if self._pipe is None:
            return
        pipe, self._pipe = self._pipe, None
        if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, self._previous_handler)
        previous_fd = signal.set_wakeup_fd(-1)
        if previous_fd not in (-1, pipe[1]):
            with contextlib.suppress(OSError, ValueError):  # closed by now
                signal.set_wakeup_fd(previous_fd)
        for fd in pipe:
            os.close(fd)


def _wake_main_thread() -> None:
    """Make the main thread run the handler, if it waits in C code and another thread took the signal."""
    main_thread = threading.main_thread()
    if main_thread.ident is not None and main_thread.is_alive():
        signal.pthread_kill(main_thread.ident, signal.SIGTERM)


def _install_wakeup_fd(reader: int, writer: int) -> None:
    """Make Python write the number of each signal into this pipe, unless another one was set before."""
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    previous_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    if previous_fd not in (-1, reader, writer):  # a closed one may have had the number of ours
        with contextlib.suppress(OSError, ValueError):  # it was closed, or no signal arrived meanwhile
            signal.set_wakeup_fd(previous_fd)
            os.write(previous_fd, os.read(reader, 512))
    os.set_blocking(reader, True)


def _make_default_restorer() -> Callable[[], object]:
    """Return a function that makes SIGTERM end this process again; `signal.signal` needs the main thread."""
    try:
        import ctypes  # noqa: PLC0415 - Python may be built without it

        set_handler = ctypes.CDLL(None).signal
    except (ImportError, AttributeError, OSError):
        return _restored_by_handler
    set_handler.argtypes, set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    return lambda: set_handler(signal.SIGTERM, None)


def _restored_by_handler() -> None:
    """Leave it to the handler, which the next signal calls."""


class SigtermBlock:
    """Blocks SIGTERM while a thread forks: in the child it could reach our handler before that is removed."""

    def __init__(self) -> None:
        self._thread_local = threading.local()

    def block(self) -> None:
        """Block it in this thread."""
        self._thread_local.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def unblock(self) -> None:
        """Restore the signal mask of this thread."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._thread_local.mask)
