"""A process that runs a command as a controller does, and that a test can kill."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import masterjob
from masterjob.jobs.exec.processes import Process, list_running
from tests.timeouts import WAIT_TIMEOUT

CONTROLLER = """
    import sys, threading
    from masterjob.concurrency.clock import clock
    from masterjob.election.term import LiveTerm
    from masterjob.election.values import Term
    from masterjob.jobs.exec.command import ExecCommand
    from masterjob.concurrency.thread_pool import ThreadPool
    from masterjob.jobs.exec.spec import ExecSpec

    class Report:
        def started(self): pass
        def start_failed(self, error): print("failed", error, flush=True)
        def progress(self, run): pass
        def stopped(self): pass

    {before}
    trust, stop_timeout, *argv = sys.argv[1:]
    job = ExecSpec(ExecCommand(tuple(argv))).create_job(ThreadPool(), float(stop_timeout))
    job.start(LiveTerm(Term("the lock", 7), lambda: float(trust), None), Report())
    {then}
    threading.Event().wait()
"""


@contextmanager
def run_controller(
    argv: tuple[str, ...], trust: float = 60.0, stop_timeout: float = 1.0, then: str = "", before: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a controller that always has ``trust`` seconds of trust left, as long as it runs itself.

    ``before`` and ``then`` are code for it, before and after it starts the command.
    """
    program = textwrap.dedent(CONTROLLER).replace("{before}", before).replace("{then}", then)
    source_root = str(Path(str(masterjob.__file__)).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(trust), str(stop_timeout), *argv],
        env={**os.environ, "PYTHONPATH": source_root},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def shim_of(controller_pid: int) -> Process:
    """Return the only shim of a controller."""
    (shim,) = [process for process in list_running() if process.parent == controller_pid and _is_shim(process)]
    return shim


def _is_shim(process: Process) -> bool:
    return Path(f"/proc/{process.pid}/comm").read_text() == "job-shim\n"


def kill_controller_and_shim(controller: subprocess.Popen[bytes]) -> None:
    """Kill both at the same time, as far as they can notice."""
    controller.send_signal(signal.SIGSTOP)
    shim_of(controller.pid).kill()
    controller.kill()
    controller.wait(WAIT_TIMEOUT)
