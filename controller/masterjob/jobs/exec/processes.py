"""The processes of this host, as Linux's ``/proc`` shows them. Other systems show none."""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A process at one moment. A pid is used again later, but not with the same start time."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    start_time: int
    """Clock ticks since the start of the system."""

    @property
    def is_running(self) -> bool:
        """Whether it runs or could: in a container, zombies may stay for good."""
        return self.state not in "ZX"

    def kill(self) -> None:
        """Send SIGKILL, but not to another process that got the same pid meanwhile."""
        with contextlib.suppress(OSError):
            pidfd = self._open_pidfd()
            try:
                if not self._is_still_there():
                    return
                if pidfd is None:
                    os.kill(self.pid, signal.SIGKILL)
                else:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                if pidfd is not None:
                    os.close(pidfd)

    def _open_pidfd(self) -> int | None:
        try:
            return os.pidfd_open(self.pid)
        except ProcessLookupError:
            raise
        except OSError:  # a sandbox may forbid the call
            return None

    def _is_still_there(self) -> bool:
        now = read_process(self.pid)
        return now is not None and now.start_time == self.start_time


def read_process(pid: int) -> Process | None:
    """Return the process, which may be a zombie; None if there is none, or it is hidden from us."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return Process(pid, fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def list_running() -> list[Process]:
    """Return the processes that run."""
    pids = [int(path.name) for path in PROC.glob("[0-9]*")]
    return [process for pid in pids if (process := read_process(pid)) is not None and process.is_running]


def read_variable(pid: int, name: str) -> str | None:
    """Return a variable of the environment that a process was started with, if we may read it."""
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    prefix = f"{name}=".encode()
    values = [each[len(prefix) :] for each in environment.split(b"\0") if each.startswith(prefix)]
    return values[0].decode(errors="replace") if values else None
