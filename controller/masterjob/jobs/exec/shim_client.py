"""The controller's end of a shim (``shim.py``): start it, send it messages, read its status."""

import contextlib
import marshal
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, cast

from masterjob.concurrency.clock import clock
from masterjob.jobs.exec import shim

_MIN_TRUST_CHANGE = 0.01
"""Seconds by which the trust's end must have moved to be sent again."""


class ShimClient:
    """A running shim. The methods that send it a message may be called from any thread, and never block."""

    def __init__(self, process: subprocess.Popen[bytes], control: IO[bytes], status_fd: int) -> None:
        self._process = process
        self._control = control
        self._status_fd = status_fd
        self._unread_status = b""
        self._sent_trust_end = 0.0
        self._lock = threading.Lock()
        self.process_group: int | None = None
        """The command's process group, as soon as it is known."""

    @classmethod
    def launch(cls, process_name: str) -> "ShimClient":
        """Start a shim, which waits for `start_command`. ``process_name`` appears on its command line.

        Raises:
            OSError: the process cannot be started.
        """
        status_fd, status_write_fd = os.pipe()
        try:
            process = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable or "python3", "-I", "-S", shim.__file__, str(status_write_fd), process_name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(status_write_fd,),
                start_new_session=True,
            )
        except BaseException:
            os.close(status_fd)
            raise
        finally:
            os.close(status_write_fd)
        return cls(process, cast("IO[bytes]", process.stdin), status_fd)

    @property
    def outputs(self) -> tuple[IO[bytes], IO[bytes]]:
        """The command's standard output and standard error. The reader closes them."""
        return cast("IO[bytes]", self._process.stdout), cast("IO[bytes]", self._process.stderr)

    def start_command(self, request: shim.LaunchRequest) -> None:
        """Send the launch request. If the shim is gone, `read_status` reports it."""
        data = marshal.dumps(tuple(request))
        message = memoryview(len(data).to_bytes(8, "little") + data)
        with contextlib.suppress(OSError, ValueError):
            while message:  # a large environment takes several writes
                message = message[self._control.write(message) or 0 :]
            os.set_blocking(self._control.fileno(), False)

    def extend_trust(self, trust_left: Callable[[], float]) -> float:
        """Send the trust's end if it has moved. Return the seconds of trust left."""
        now = clock()  # before the trust is read: a pause between the two makes the end too early, never too late
        seconds_left = trust_left()
        if seconds_left > 0 and abs(now + seconds_left - self._sent_trust_end) > _MIN_TRUST_CHANGE:
            self._sent_trust_end = now + seconds_left
            self._send(f"end {self._sent_trust_end!r}\n")
        return seconds_left

    def stop(self, requested_at: float) -> None:
        """Stop the command. The stop was requested at the local time ``requested_at``."""
        if not self._send(f"stop {requested_at!r}\n"):
            self.disconnect()

    def set_grace_period(self, seconds: float) -> None:
        """Set the seconds from SIGTERM to SIGKILL. If the shim cannot be reached, kill at once."""
        if not self._send(f"grace {seconds!r}\n"):
            self.disconnect()

    def disconnect(self) -> None:
        """Close the pipe. The shim then kills the command at once."""
        with self._lock:
            self._control.close()

    def _send(self, line: str) -> bool:
        """Write one line. Return False if the shim is dead, or frozen for so long that the pipe is full."""
        with self._lock:
            try:
                return not self._control.closed and bool(self._control.write(line.encode()))
            except OSError:
                return False

    def read_status(self, timeout: float | None) -> str | None:
        """Return the shim's next line; an empty one after ``timeout`` seconds; None if the shim is gone."""
        while b"\n" not in self._unread_status:
            if not wait_readable(self._status_fd, timeout):
                return ""
            data = os.read(self._status_fd, 4096)
            if not data:
                return None
            self._unread_status += data
        line, _, self._unread_status = self._unread_status.partition(b"\n")
        return line.decode()

    def reap(self) -> None:
        """Kill what still runs, wait for the shim's exit, and close everything except the outputs."""
        self.disconnect()
        self._process.wait()
        os.close(self._status_fd)


def wait_readable(fd: int, timeout: float | None) -> bool:
    """Wait up to ``timeout`` seconds for data. Return whether there is any."""
    poll = select.poll()  # select() does not accept file descriptors from 1,024 on
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))
