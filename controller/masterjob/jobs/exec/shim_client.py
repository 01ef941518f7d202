"""The controller's end of a shim (``shim.py``): start it, tell it how long the trust lasts, hear from it."""

import contextlib
import marshal
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from masterjob.concurrency.clock import clock
from masterjob.jobs.exec.shim import LaunchRequest

_SHIM_SCRIPT = Path(__file__).with_name("shim.py")
_MIN_TRUST_CHANGE = 0.01  # seconds that the trust's end must have moved by to be told again


class ShimClient:
    """One shim that runs. `extend_trust`, `stop` and `disconnect` may be called from any thread, and never
    block.
    """

    def __init__(self, process: subprocess.Popen[bytes], control: IO[bytes], status_fd: int) -> None:
        self._process = process
        self._control = control
        self._status_fd = status_fd
        self._unread_status = b""
        self._sent_trust_end = 0.0
        self._lock = threading.Lock()
        self.process_group: int | None = None
        """The command's process group, once it is known."""

    @classmethod
    def launch(cls, process_name: str) -> "ShimClient":
        """Start a shim that shows itself under this name; it starts nothing before it gets its order.

        Raises:
            OSError: it cannot be started.
        """
        status_fd, status_write_fd = os.pipe()
        try:
            process = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable or "python3", "-I", "-S", str(_SHIM_SCRIPT), str(status_write_fd), process_name],
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
        """The command's standard output and standard error; whoever reads them closes them."""
        return cast("IO[bytes]", self._process.stdout), cast("IO[bytes]", self._process.stderr)

    def start_command(self, request: LaunchRequest) -> None:
        """Have the command started. Nothing of that is reported if the shim has been let go of."""
        data = marshal.dumps(tuple(request))
        message = memoryview(len(data).to_bytes(8, "little") + data)
        with contextlib.suppress(OSError, ValueError):  # its end is seen in the news
            while message:  # a large environment takes several writes
                message = message[self._control.write(message) or 0 :]
            os.set_blocking(self._control.fileno(), False)

    def extend_trust(self, trust_left: Callable[[], float]) -> float:
        """Tell the shim the trust's end if that has moved; return the seconds that are left."""
        now = clock()  # before the trust is asked for: after a pause between the two, the end is early, never late
        seconds_left = trust_left()
        if seconds_left > 0 and abs(now + seconds_left - self._sent_trust_end) > _MIN_TRUST_CHANGE:
            self._sent_trust_end = now + seconds_left
            self._send(f"end {self._sent_trust_end!r}\n")
        return seconds_left

    def stop(self, requested_at: float) -> None:
        """Have the command stopped, as asked for at the local time ``requested_at``."""
        if not self._send(f"stop {requested_at!r}\n"):
            self.disconnect()

    def set_grace_period(self, seconds: float) -> None:
        """Have so long pass from SIGTERM to SIGKILL; where that cannot be told, all ends now."""
        if not self._send(f"grace {seconds!r}\n"):
            self.disconnect()

    def disconnect(self) -> None:
        """Close the pipe: what still runs is killed at once."""
        with self._lock:
            self._control.close()

    def _send(self, line: str) -> bool:
        """Write one line; False if the shim cannot take it, being dead or frozen for long."""
        with self._lock:
            try:
                return not self._control.closed and bool(self._control.write(line.encode()))
            except OSError:
                return False

    def read_status(self, timeout: float | None) -> str | None:
        """Return the shim's next line; nothing in it when ``timeout`` seconds are over, None at the end."""
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
        """End whatever still runs, wait for the shim's own end, and give back what it took but its outputs."""
        self.disconnect()
        self._process.wait()
        os.close(self._status_fd)


def wait_readable(fd: int, timeout: float | None) -> bool:
    """Wait until there is something to read, at most ``timeout`` seconds; return whether there is."""
    poll = select.poll()  # select() itself cannot do with numbers from 1,024 on
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def kill_group(group: int) -> None:
    """Do what a shim that was killed cannot do any more; return when nothing of the group runs."""
    pause = threading.Event()
    while _group_is_running(group):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        pause.wait(0.02)


def _group_is_running(group: int) -> bool:
    """Tell whether the group has processes that are not dead: in a container, dead ones may stay for good."""
    if not Path("/proc/self/stat").exists():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, 0)
            return True
        return False
    return any(_read_proc_stat(path)[2:3] == [str(group)] for path in Path("/proc").glob("[0-9]*/stat"))


def _read_proc_stat(path: Path) -> list[str]:
    """Return what /proc says of a process after its name (state, parent, group, ...); nothing of a dead one."""
    try:
        fields = path.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
    return fields if fields[0] not in "ZX" else []
