"""What commands leave running when their shim, or their controller, is killed: find it, and kill it.

A process belongs to the execution that its environment names (`VARIABLE`), and without that to the one that its
parent belongs to. Those in the cgroup of an execution belong to it in any case. What a living controller runs is
never touched.
"""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable

from masterjob.concurrency.clock import clock
from masterjob.jobs.exec.cgroup import create_cgroup, list_cgroups
from masterjob.jobs.exec.execution_id import VARIABLE, ExecutionId
from masterjob.jobs.exec.processes import PROC, Process, list_running, read_variable
from masterjob.jobs.exec.shim import LaunchRequest

logger = logging.getLogger("masterjob.jobs.exec")

ORPHANS_TIMEOUT = 2.0
"""Seconds for the end of what dead controllers have left. What the kernel cannot end then holds up no job."""

_PAUSE = 0.02
"""Seconds between two looks at processes that were sent SIGKILL."""


class CommandScope:
    """What the processes of one execution have in common: a variable, and a cgroup if that is possible."""

    def __init__(self) -> None:
        self._execution = ExecutionId.create()
        self._cgroup = create_cgroup(self._execution)

    def apply(self, request: LaunchRequest) -> LaunchRequest:
        """Return the request to run a command in this scope."""
        environment = {**request.environment, VARIABLE.encode(): str(self._execution).encode()}
        cgroup = None if self._cgroup is None else os.fsencode(self._cgroup.path)
        return request._replace(environment=environment, cgroup=cgroup)

    def kill(self, group: int | None) -> None:
        """Kill all its processes, because the shim was killed. Return when none of them runs.

        ``group`` is the id of the command's process group and session, if it was started.
        """
        pause = threading.Event()
        while self._kill_once(group):
            pause.wait(_PAUSE)

    def _kill_once(self, group: int | None) -> bool:
        """Send SIGKILL to all that runs; return whether there was any."""
        populated = self._cgroup is not None and self._cgroup.is_populated()
        if self._cgroup is not None:
            self._cgroup.kill()
        if group is not None and not PROC.is_dir():
            return _kill_group(group)
        processes = _find_members(lambda each: each == self._execution, group)
        for process in processes:
            process.kill()
        return populated or bool(processes)

    def close(self) -> None:
        """Remove the cgroup. No process runs in it any more."""
        if self._cgroup is not None:
            self._cgroup.remove()


def _kill_group(group: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
        return True
    return False


def _find_members(belongs: Callable[[ExecutionId], bool], group: int | None = None) -> list[Process]:
    """Return the processes of the executions for which ``belongs`` is true, and those of the group or session."""
    running = {process.pid: process for process in list_running()}
    executions = {pid: ExecutionId.parse(read_variable(pid, VARIABLE)) for pid in running}

    def is_member(process: Process | None) -> bool:
        while process is not None and process.pid != os.getpid():
            if (execution := executions[process.pid]) is not None:
                return belongs(execution)
            if group is not None and group in (process.group, process.session):
                return True
            process = running.get(process.parent)
        return False

    return [process for process in running.values() if is_member(process)]


def end_orphans() -> None:
    """Kill what dead controllers have left running on this host. Blocks for `ORPHANS_TIMEOUT` seconds at most."""
    if not start_ending_orphans().wait(ORPHANS_TIMEOUT):
        logger.error("what a killed controller has left running on this host could not be ended in time")


def start_ending_orphans() -> threading.Event:
    """Start a thread that does so, and return what it sets when nothing of them runs any more.

    Reading the environment of a process can hang, so no other thread does it.
    """
    done = threading.Event()

    def run() -> None:
        if _kill_orphans(clock() + ORPHANS_TIMEOUT):
            done.set()

    threading.Thread(target=run, name="masterjob-orphans", daemon=True).start()
    return done


def _kill_orphans(give_up_at: float) -> bool:
    """Return whether nothing of a dead controller runs any more."""
    inherited = ExecutionId.parse(os.environ.get(VARIABLE))  # we may be a part of a command ourselves
    pause, reported = threading.Event(), set[int]()

    def is_orphaned(execution: ExecutionId) -> bool:
        return execution != inherited and execution.is_orphaned()

    while pids := _kill_orphans_once(is_orphaned):
        if new := sorted(pids - reported):
            reported |= pids
            message = "killed what a killed controller has left running on this host: %s"
            logger.warning(message, ", ".join(f"process {pid}" for pid in new))
        if clock() > give_up_at:
            return False
        pause.wait(_PAUSE)
    return True


def _kill_orphans_once(is_orphaned: Callable[[ExecutionId], bool]) -> set[int]:
    """Send SIGKILL to all that runs; return the pids."""
    processes = _find_members(is_orphaned)
    pids = {process.pid for process in processes}
    for process in processes:
        process.kill()
    for execution, cgroup in list_cgroups():
        if is_orphaned(execution):
            pids |= cgroup.pids()
            cgroup.kill()
            cgroup.remove()
    return pids
