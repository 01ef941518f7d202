"""The identity of one execution of a command. All its processes inherit it in their environment.

It names the controller's process. So another controller on the same host can tell what was left running by a
controller that was killed, and what belongs to one that lives.
"""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from masterjob.jobs.exec.processes import PROC, read_process

VARIABLE = "MASTERJOB_EXECUTION"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class ExecutionId:
    """The controller's process, a number that it gives once, and the namespaces in which its pid counts."""

    controller_pid: int
    controller_start_time: int
    """Clock ticks since the start of the system, as the controller's time namespace counts them."""
    number: int
    pid_namespace: int
    time_namespace: int

    @classmethod
    def create(cls) -> "ExecutionId":
        """Return a new identity, for an execution by this process."""
        process = read_process(os.getpid())
        return cls(
            os.getpid(), 0 if process is None else process.start_time, next(_numbers), *_current_namespaces()
        )

    @classmethod
    def parse(cls, text: str | None) -> "ExecutionId | None":
        """Return the identity that `str` has written; None if it is none."""
        fields = (text or "").split("-")
        if len(fields) != 5 or not all(each.isascii() and each.isdecimal() for each in fields):
            return None
        return cls(*map(int, fields))

    def __str__(self) -> str:
        fields = (self.controller_pid, self.controller_start_time, self.number)
        return "-".join(map(str, (*fields, self.pid_namespace, self.time_namespace)))

    def is_orphaned(self) -> bool:
        """Return whether its controller is known to be dead: in doubt, as in another namespace, it is alive."""
        if (self.pid_namespace, self.time_namespace) != _current_namespaces() or not self.pid_namespace:
            return False
        try:
            os.kill(self.controller_pid, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):  # another user's, which may be hidden in /proc; or no pid
            pass
        process = read_process(self.controller_pid)
        if process is None:
            return False
        return process.start_time != self.controller_start_time or not process.is_running


def _current_namespaces() -> tuple[int, int]:
    """Return the numbers of our pid and time namespaces; zeros if ``/proc`` does not show our pid namespace."""
    try:
        if str((PROC / "self").readlink()) != str(os.getpid()):
            return 0, 0
        return (PROC / "self/ns/pid").stat().st_ino, _inode(PROC / "self/ns/time")
    except OSError:
        return 0, 0


def _inode(path: Path) -> int:
    return path.stat().st_ino if path.exists() else 0  # before Linux 5.6 there are no time namespaces
