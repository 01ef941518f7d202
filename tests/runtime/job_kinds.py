"""Each kind of job, as the tests of the life of a run need it: it ends when and as the test wants."""

import os
import queue
import threading
from pathlib import Path
from typing import Any, Protocol

from masterjob.jobs.exec.command import ExecCommand
from masterjob.jobs.exec.spec import ExecSpec
from masterjob.jobs.http.call import Hooks
from masterjob.jobs.http.check import Check
from masterjob.jobs.http.spec import HttpSpec
from masterjob.jobs.policy import Restart, RunPolicy
from masterjob.jobs.python.job import CallableSpec, MasterJob
from masterjob.jobs.registry import JobSpec
from tests.jobs.service import FakeService
from tests.timeouts import WAIT_TIMEOUT

NEVER_RUNNING, SOON_RUNNING = 3600.0, 0.1
"""Start times: no test lasts so long; and one after which the job is still there, since only the test ends it."""


class JobKind(Protocol):
    """A job that waits for the test. Its stop waits for `let_stop`."""

    error: str
    """What its last error contains after `fail`."""

    def spec(self, *, runs: bool = True, restart: Restart = Restart.ON_FAILURE, once: bool = False) -> JobSpec:
        """Return the job. Without ``runs`` it stays in Starting."""

    def config(self) -> dict[str, Any]:
        """Return a job that runs until it is stopped, as the config file of another process has it."""

    def end(self) -> None:
        """End it in success; a service restarts."""

    def fail(self) -> None: ...
    def let_stop(self) -> None: ...
    def close(self) -> None: ...


class CommandKind:
    error = "the command ended with exit code 7"

    def __init__(self, folder: Path) -> None:
        self._paths = folder / "exit-code", folder / "release"
        for path in self._paths:
            os.mkfifo(path)
        # Open for reading too, so that a write never waits for the command.
        self._exit_code, self._release = (os.open(path, os.O_RDWR) for path in self._paths)

    def spec(self, *, runs: bool = True, restart: Restart = Restart.ON_FAILURE, once: bool = False) -> JobSpec:
        exit_code, release = self._paths
        script = f"trap 'read _ <{release}; exit 0' TERM; (read code <{exit_code}; exit $code) & wait $!; exit $?"
        policy = RunPolicy(restart, once, SOON_RUNNING if runs else NEVER_RUNNING)
        return ExecSpec(ExecCommand(("sh", "-c", script)), policy)

    def config(self) -> dict[str, Any]:
        return {"exec": {"command": ["sleep", "3600"], "startSeconds": SOON_RUNNING}}

    def end(self) -> None:
        os.write(self._exit_code, b"0\n")

    def fail(self) -> None:
        os.write(self._exit_code, b"7\n")

    def let_stop(self) -> None:
        os.write(self._release, b"\n")

    def close(self) -> None:
        for descriptor in (self._exit_code, self._release):
            os.close(descriptor)


class FunctionKind:
    """A job with ``run``."""

    error = "ValueError: no disk"

    def __init__(self, _folder: Path) -> None:
        self._orders: queue.Queue[str] = queue.Queue()
        self._may_stop = threading.Event()

    def spec(self, *, runs: bool = True, restart: Restart = Restart.ON_FAILURE, once: bool = False) -> JobSpec:
        start_seconds = SOON_RUNNING if runs else NEVER_RUNNING
        return CallableSpec(
            MasterJob(run=self._work, stop=self._stop, restart=restart, once=once, start_seconds=start_seconds)
        )

    def _work(self) -> None:
        if self._orders.get() == "fail":
            raise ValueError("no disk")

    def _stop(self) -> None:
        self._may_stop.wait(WAIT_TIMEOUT)
        self._orders.put("end")

    def config(self) -> dict[str, Any]:
        return {"python": {"entry": f"{__name__}:waiting_run", "startSeconds": SOON_RUNNING}}

    def end(self) -> None:
        self._orders.put("end")

    def fail(self) -> None:
        self._orders.put("fail")

    def let_stop(self) -> None:
        self._may_stop.set()

    def close(self) -> None:
        self._may_stop.set()
        self._orders.put("end")


class StartKind(FunctionKind):
    """A job with ``start`` and ``stop``."""

    def spec(self, *, runs: bool = True, restart: Restart = Restart.ON_FAILURE, once: bool = False) -> JobSpec:
        return CallableSpec(
            MasterJob(self._work, self._stop, start_seconds=SOON_RUNNING if runs else NEVER_RUNNING)
        )

    def config(self) -> dict[str, Any]:
        return {"python": {"entry": f"{__name__}:waiting_start", "startSeconds": SOON_RUNNING}}


class ServiceKind:
    error = "3 checks in a row have failed"

    def __init__(self, _folder: Path) -> None:
        self._service = FakeService()
        self._may_start, self._may_stop = threading.Event(), threading.Event()
        self._service.before_answer["start"] = lambda: self._may_start.wait(WAIT_TIMEOUT)
        self._service.before_answer["stop"] = lambda: self._may_stop.wait(WAIT_TIMEOUT)

    def spec(self, *, runs: bool = True, restart: Restart = Restart.ON_FAILURE, once: bool = False) -> JobSpec:
        if runs:
            self._may_start.set()
        check = Check(self._service.url("/running"), 0.05, WAIT_TIMEOUT)
        return HttpSpec(Hooks(self._service.url("/start"), self._service.url("/stop"), {}, WAIT_TIMEOUT, 0, check))

    def config(self) -> dict[str, Any]:
        self._may_start.set()
        start, stop, check = (self._service.url(path) for path in ("/start", "/stop", "/running"))
        return {"http": {"start": start, "stop": stop, "check": {"url": check, "interval": "100ms"}}}

    def end(self) -> None:
        self._service.check_answers = [(404, b"", {}), (204, b"", {})]

    def fail(self) -> None:
        self._service.check_answers = [(500, b"no disk", {})]

    def let_stop(self) -> None:
        self._may_stop.set()

    def close(self) -> None:
        self._may_start.set()
        self._may_stop.set()
        self._service.close()


waiting_run = MasterJob(run=lambda term: term.wait())
waiting_start = MasterJob(start=lambda term: term.wait())
