"""A cgroup (version 2) for each execution of a command, if we may create one below our own.

Nothing that the command starts can leave it by a new session, a double fork or a cleared environment, and
``cgroup.kill`` ends all of it at once, even what forks faster than we could send signals.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from masterjob.jobs.exec.execution_id import ExecutionId
from masterjob.jobs.exec.processes import PROC

_PREFIX = "masterjob-"


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The cgroup of one execution."""

    path: Path

    def kill(self) -> None:
        """Send SIGKILL to all its processes."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")

    def is_populated(self) -> bool:
        """Return whether a process runs in it."""
        try:
            return "populated 1" in (self.path / "cgroup.events").read_text()
        except OSError:
            return False

    def pids(self) -> set[int]:
        """Return the processes in it, without those in cgroups that the command has created below it."""
        try:
            return set(map(int, (self.path / "cgroup.procs").read_text().split()))
        except OSError:
            return set()

    def remove(self) -> None:
        """Remove it, if no process runs in it, with those that the command has created below it."""
        with contextlib.suppress(OSError):
            for path in sorted(self.path.rglob("*/"), reverse=True):
                path.rmdir()
            self.path.rmdir()


def create_cgroup(execution: ExecutionId) -> Cgroup | None:
    """Create the cgroup of an execution; return None if the system or our rights do not allow it."""
    parent = _own_cgroup()
    if parent is None:
        return None
    cgroup = Cgroup(parent / f"{_PREFIX}{execution}")
    try:
        cgroup.path.mkdir()
    except OSError:
        return None
    if not (cgroup.path / "cgroup.kill").exists():  # before Linux 5.14
        cgroup.remove()
        return None
    return cgroup


def list_cgroups() -> list[tuple[ExecutionId, Cgroup]]:
    """Return the cgroups of executions below our own, whichever controller has created them."""
    parent = _own_cgroup()
    paths = [] if parent is None else parent.glob(f"{_PREFIX}*")
    named = [(ExecutionId.parse(path.name.removeprefix(_PREFIX)), Cgroup(path)) for path in paths]
    return [(execution, cgroup) for execution, cgroup in named if execution is not None]


def _own_cgroup() -> Path | None:
    """Return the directory of the cgroup that we run in; None if it is not mounted, or not visible to us."""
    try:
        paths = [line[3:] for line in (PROC / "self/cgroup").read_text().splitlines() if line.startswith("0::")]
        mounts = [line.split() for line in (PROC / "self/mountinfo").read_text().splitlines()]
    except OSError:
        return None
    for mount in mounts:
        root, mount_point, filesystem = mount[3], mount[4], mount[mount.index("-") + 1]
        if filesystem == "cgroup2" and paths and Path(paths[0]).is_relative_to(root) and ".." not in paths[0]:
            return Path(mount_point) / Path(paths[0]).relative_to(root)
    return None
