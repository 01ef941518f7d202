"""What commands leave running is killed whatever is killed before: the shim, the controller, or both."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from masterjob.jobs.exec import leftovers
from masterjob.jobs.exec.cgroup import create_cgroup, list_cgroups
from masterjob.jobs.exec.execution_id import VARIABLE, ExecutionId
from masterjob.jobs.exec.leftovers import end_orphans
from masterjob.jobs.exec.processes import Process
from tests.jobs.commands import start_job
from tests.jobs.controllers import kill_controller_and_shim, run_controller, shim_of
from tests.jobs.process_checks import LogCapture, ProcessPipe
from tests.timeouts import WAIT_TIMEOUT

LOOP_FOREVER = "while :; do sleep 0.1; done"
WITHOUT_CGROUP = "from masterjob.jobs.exec import leftovers; leftovers.create_cgroup = lambda _: None"

IN_THE_GROUP = f"(trap '' TERM; echo up >&9; {LOOP_FOREVER}) & {LOOP_FOREVER}"
DAEMON_CODE = f"trap '' TERM; sleep 600 & echo up >&9; {LOOP_FOREVER}"
DAEMON = f'(setsid sh -c "{DAEMON_CODE}" &) & {LOOP_FOREVER}'
"""Forked twice, in a session of its own, with a child: no relation to the command is left but its environment."""

HIDDEN_DAEMON = f'(setsid env -i PATH="$PATH" sh -c "{DAEMON_CODE}" &) & {LOOP_FOREVER}'
"""Not even that."""

can_create_cgroups = (cgroup := create_cgroup(ExecutionId.create())) is not None
if cgroup is not None:
    cgroup.remove()
needs_cgroups = pytest.mark.skipif(not can_create_cgroups, reason="may not create a cgroup (version 2)")

SCRIPTS = [
    pytest.param(IN_THE_GROUP, False, id="in the group"),
    pytest.param(DAEMON, False, id="daemon"),
    pytest.param(IN_THE_GROUP, True, id="in the group, with a cgroup", marks=needs_cgroups),
    pytest.param(DAEMON, True, id="daemon, with a cgroup", marks=needs_cgroups),
    pytest.param(HIDDEN_DAEMON, True, id="hidden daemon, with a cgroup", marks=needs_cgroups),
]
each_script = pytest.mark.parametrize(("script", "with_cgroup"), SCRIPTS)


@each_script
def test_when_the_shim_is_killed_nothing_of_its_command_runs_before_the_failure_is_reported(
    process_pipe: ProcessPipe, monkeypatch: pytest.MonkeyPatch, script: str, with_cgroup: bool
) -> None:
    if not with_cgroup:
        monkeypatch.setattr(leftovers, "create_cgroup", lambda _: None)
    job, report = start_job(*process_pipe.shell_argv(script))
    process_pipe.wait_for("up")
    shim_of(os.getpid()).kill()
    report.wait_for("start failed")
    assert "the shim of the command was killed" in str(report.errors[0])
    assert process_pipe.is_gone()
    job.stop()
    report.wait_for("stopped")


@each_script
def test_when_the_controller_is_killed_the_shim_kills_all_of_its_command(
    process_pipe: ProcessPipe, script: str, with_cgroup: bool
) -> None:
    before = "" if with_cgroup else WITHOUT_CGROUP
    with run_controller(process_pipe.shell_argv(script), stop_timeout=600.0, before=before) as controller:
        process_pipe.wait_for("up")
        controller.kill()
        process_pipe.wait_until_gone()


@each_script
def test_when_both_are_killed_the_next_controller_of_this_host_kills_what_they_left(
    process_pipe: ProcessPipe, script: str, with_cgroup: bool
) -> None:
    before = "" if with_cgroup else WITHOUT_CGROUP
    with run_controller(process_pipe.shell_argv(script), stop_timeout=600.0, before=before) as controller:
        process_pipe.wait_for("up")
        kill_controller_and_shim(controller)
        leftovers.start_ending_orphans()
        process_pipe.wait_until_gone()


def test_a_command_is_not_started_before_what_dead_controllers_left_has_ended(
    process_pipe: ProcessPipe, monkeypatch: pytest.MonkeyPatch, log: LogCapture
) -> None:
    monkeypatch.setattr(leftovers, "ORPHANS_TIMEOUT", WAIT_TIMEOUT)
    with run_controller(process_pipe.shell_argv(DAEMON), stop_timeout=600.0) as controller:
        process_pipe.wait_for("up")
        kill_controller_and_shim(controller)
        job, report = start_job("sh", "-c", f"echo the next; {LOOP_FOREVER}")
        log.wait_for("INFO", "the lock: the next")
        assert process_pipe.is_gone()
        job.stop()
        report.wait_for("stopped")


def test_what_a_living_controller_runs_is_not_touched(process_pipe: ProcessPipe, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    with run_controller(process_pipe.shell_argv(f"echo up >&9; read line <'{go}'; echo still >&9; sleep 600")):
        process_pipe.wait_for("up")
        end_orphans()
        go.write_text("go on\n")
        process_pipe.wait_for("still")


@contextmanager
def run_marked(execution: ExecutionId, *argv: str) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Run a process that belongs to an execution. Its input and output are pipes."""
    environment = {**os.environ, VARIABLE: str(execution)}
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process, process.stdout


@pytest.fixture
def orphaned(monkeypatch: pytest.MonkeyPatch) -> ExecutionId:
    """Return an execution that only this process takes for orphaned: tests beside this one leave it alone."""
    orphaned = ExecutionId.create()
    monkeypatch.setattr(ExecutionId, "is_orphaned", lambda execution: execution == orphaned)
    return orphaned


def test_an_orphan_is_killed_and_logged(orphaned: ExecutionId, log: LogCapture) -> None:
    with run_marked(orphaned, "cat") as (process, _):
        leftovers.start_ending_orphans()
        assert process.wait(WAIT_TIMEOUT) == -signal.SIGKILL
    message = f"killed what a killed controller has left running on this host: process {process.pid}"
    log.wait_for("WARNING", message)


def test_so_are_its_children_that_have_cleared_their_environment(orphaned: ExecutionId) -> None:
    with run_marked(orphaned, "sh", "-c", f"env -i sh -c 'echo up; {LOOP_FOREVER}' & wait") as (_, output):
        assert output.readline() == b"up\n"
        leftovers.start_ending_orphans()
        assert output.read() == b""


def test_a_child_that_belongs_to_another_execution_is_not(orphaned: ExecutionId) -> None:
    child = f"{VARIABLE}={ExecutionId.create()} sh -c 'echo up; read line; echo still'"
    with run_marked(orphaned, "sh", "-c", f"exec 3<&0; {child} <&3 & wait") as (process, output):
        assert output.readline() == b"up\n"
        leftovers.start_ending_orphans()
        process.wait(WAIT_TIMEOUT)
        assert process.stdin is not None
        process.stdin.write(b"go on\n")
        process.stdin.flush()
        assert output.read() == b"still\n"


def test_a_controller_that_is_part_of_an_orphan_itself_spares_it(
    orphaned: ExecutionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(orphaned))
    with run_marked(orphaned, "cat") as (process, _):
        end_orphans()
        assert process.poll() is None


def test_an_orphan_that_does_not_end_holds_nothing_up(
    orphaned: ExecutionId, log: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "ORPHANS_TIMEOUT", 0.1)
    monkeypatch.setattr(Process, "kill", lambda _: None)  # as in an uninterruptible wait
    with run_marked(orphaned, "cat"):
        end_orphans()
        log.wait_for("ERROR", "what a killed controller has left running on this host could not be ended in time")


@needs_cgroups
def test_the_cgroup_of_an_execution_is_removed_when_it_has_ended() -> None:
    before = set(_own_cgroups())
    job, report = start_job("sh", "-c", LOOP_FOREVER)
    job.stop()
    report.wait_for("stopped")
    assert set(_own_cgroups()) <= before


def _own_cgroups() -> list[Path]:
    return [each.path for execution, each in list_cgroups() if execution.controller_pid == os.getpid()]


@needs_cgroups
def test_a_cgroup_goes_with_those_that_the_command_has_created_below_it() -> None:
    cgroup = create_cgroup(ExecutionId.create())
    assert cgroup is not None
    (cgroup.path / "a/b").mkdir(parents=True)
    cgroup.remove()
    assert not cgroup.path.exists()


def test_a_shim_does_not_look_like_a_controller(process_pipe: ProcessPipe) -> None:
    """So `pkill -f masterjob` kills no shim."""
    with run_controller(process_pipe.shell_argv(f"echo up >&9; {LOOP_FOREVER}")) as controller:
        process_pipe.wait_for("up")
        command_line = Path(f"/proc/{shim_of(controller.pid).pid}/cmdline").read_bytes()
        assert command_line.rstrip(b"\0") == b"job-shim the lock"
