"""SIGTERM: everything ends in order first, and then it does what it did before us.

Python runs a handler in the main thread alone, once that runs Python again. But the kernel gives a signal to any
thread: to another one where the main thread blocks it, as the C library does while it starts a thread. Then
nothing wakes a main thread up that waits in C, and jobs would go on. So a thread of ours is told in two ways: by
a byte that Python writes into a pipe at once, in whichever thread took the signal, and by the handler when that
runs.

Python writes into one pipe only. Where an event loop has its own, or takes it later, ours is not used: that one
wakes up the loop, and so the handler runs.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

_HANDLER_RAN = b"\0"
"""What the handler writes into the pipe. All else in there is the number of a signal, and none is 0."""


class SigtermHandler:
    """What this process does about SIGTERM: ``shutdown`` is called, on a thread of its own, and says why."""

    def __init__(self, shutdown: Callable[[str], object]) -> None:
        self._shutdown = shutdown
        self._previous_handler: signal._HANDLER = None
        self._pipe: tuple[int, int] | None = None
        self._restore_default: Callable[[], bool] = _restored_by_handler

    def install(self) -> None:
        """Handle it from now on; only the main thread can set that up, and an ignored signal stays ignored."""
        if self._pipe is not None or threading.current_thread() is not threading.main_thread():
            return
        previous_handler = signal.getsignal(signal.SIGTERM)
        if previous_handler in (signal.SIG_IGN, None):
            return
        self._restore_default = _make_default_restorer()  # now: at the end nothing may be missing
        self._previous_handler, self._pipe = (
            previous_handler,
            os.pipe(),
        )  # before anything else, for a thread that forks just now
        _install_wakeup_fd(*self._pipe)
        threading.Thread(target=self._listen, args=self._pipe[:1], name="masterjob signals", daemon=True).start()
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        # Only what may interrupt anything: setting a handler, and a write that never waits.
        if callable(self._previous_handler):
            self._notify()
            self._previous_handler(number, frame)
        else:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._notify()

    def _notify(self) -> None:
        if self._pipe is not None:
            with contextlib.suppress(BlockingIOError):  # full, so somebody is about to read it anyway
                os.write(self._pipe[1], _HANDLER_RAN)
        elif not callable(self._previous_handler):  # in a forked child, by a handler that came after ours
            os.kill(os.getpid(), signal.SIGTERM)

    def _listen(self, reader: int) -> None:
        terminates = not callable(self._previous_handler)
        while True:
            received = os.read(reader, 512)
            if _HANDLER_RAN in received:
                self._shut_down(terminates)
            elif signal.SIGTERM in received and signal.getsignal(signal.SIGTERM) == self._on_sigterm:
                self._shut_down(terminates and self._restore_default())
            # else it is another signal, or a handler that came after ours has the last word

    def _shut_down(self, terminates: bool) -> None:
        """Close; then end as the signal would have ended us, if it would. Both ways may lead here, to no harm."""
        try:
            self._shutdown("SIGTERM")
        finally:
            if terminates:
                os.kill(os.getpid(), signal.SIGTERM)

    def after_fork_in_child(self) -> None:
        """Have it do what it did before us in a forked child, which has not our thread, and its parent's pipe."""
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


def _install_wakeup_fd(reader: int, writer: int) -> None:
    """Have Python write the number of each signal into this pipe, unless it does so for somebody else."""
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    previous_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    if previous_fd not in (-1, reader, writer):  # one that was closed may have lent its number to ours
        with contextlib.suppress(OSError, ValueError):  # it was closed; or nothing came meanwhile
            signal.set_wakeup_fd(previous_fd)
            os.write(previous_fd, os.read(reader, 512))
    os.set_blocking(reader, True)


def _make_default_restorer() -> Callable[[], bool]:
    """Return what has SIGTERM end this process again, from any thread; `signal.signal` wants the main one."""
    try:
        import ctypes  # noqa: PLC0415 - a Python may be built without

        set_handler = ctypes.CDLL(None).signal
    except (ImportError, AttributeError, OSError):
        return _restored_by_handler
    set_handler.argtypes, set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p

    def restore_default() -> bool:
        set_handler(signal.SIGTERM, None)
        return True

    return restore_default


def _restored_by_handler() -> bool:
    """Leave it to the handler, which says so when it has run."""
    return False


class SigtermBlock:
    """Holds it back while a thread forks, or it could meet a handler in the child that nobody listens to."""

    def __init__(self) -> None:
        self._thread_local = threading.local()

    def block(self) -> None:
        """Hold it back from this thread."""
        self._thread_local.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def unblock(self) -> None:
        """Let it come, if it came before."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._thread_local.mask)
