"""The shim, with real processes: a command never outlives its master, whatever happens to the controller."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from masterjob.concurrency.clock import clock
from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.ports import Job
from masterjob.election.term import LiveTerm
from masterjob.election.values import Term
from masterjob.jobs.exec.command import ExecCommand
from masterjob.jobs.exec.shim import LaunchRequest
from masterjob.jobs.exec.shim_client import ShimClient
from masterjob.jobs.exec.spec import ExecSpec
from tests.jobs.commands import ON_FAILURE, PATIENT
from tests.jobs.controllers import run_controller
from tests.jobs.fixtures import RecordingReport
from tests.jobs.process_checks import LogCapture, ProcessPipe
from tests.timeouts import WAIT_TIMEOUT

POOL = ThreadPool("test-shims")
LOOP_FOREVER = "while :; do sleep 0.1; done"  # short: a shell runs its traps only between two commands
STUBBORN = f"trap '' TERM; sleep 600 & echo up >&9; {LOOP_FOREVER}"
LEFT_THE_GROUP = f"setsid sh -c 'echo up >&9; {LOOP_FOREVER}' & {LOOP_FOREVER}"

FORK = """
import os
reader = open({go!r})
if not os.fork():
    open({forked!r}, "w").close()
    reader.read()
    os._exit(0)
"""


class AdjustableTrust:
    """A term whose trust the test sets."""

    def __init__(self, seconds: float) -> None:
        self.ends_at = clock() + seconds
        self.term = LiveTerm(Term("the lock", 7), lambda: self.ends_at - clock(), _refuse_guard)


def _refuse_guard(connection: object, term: Term) -> None:
    raise AssertionError("this term has no guard")


@pytest.mark.parametrize("script", [STUBBORN, LEFT_THE_GROUP], ids=["ignores SIGTERM", "left the group"])
def test_the_command_of_a_controller_that_is_killed_is_killed_with_all_its_processes(
    process_pipe: ProcessPipe, script: str
) -> None:
    with run_controller(process_pipe.shell_argv(script), stop_timeout=600.0) as process:
        process_pipe.wait_for("up")
        process.kill()
        process_pipe.wait_until_gone()


def test_it_is_killed_even_if_a_fork_of_the_controller_holds_the_pipe_open(
    process_pipe: ProcessPipe, tmp_path: Path
) -> None:
    go, forked = tmp_path / "go", tmp_path / "forked"
    os.mkfifo(go)
    os.mkfifo(forked)
    with run_controller(
        process_pipe.shell_argv(STUBBORN), stop_timeout=600.0, then=FORK.format(go=str(go), forked=str(forked))
    ) as process:
        process_pipe.wait_for("up")
        with go.open("w"):  # each waits for the other; when this is closed, the fork ends
            forked.read_text()
            process.kill()
            process_pipe.wait_until_gone()


def test_the_command_of_a_frozen_controller_is_stopped_when_the_trust_ends(process_pipe: ProcessPipe) -> None:
    with run_controller(
        process_pipe.shell_argv(f"echo up >&9; {LOOP_FOREVER}"), trust=4.0, stop_timeout=600.0
    ) as process:
        process_pipe.wait_for("up")
        process.send_signal(signal.SIGSTOP)
        process_pipe.wait_until_gone()
        process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("script", [STUBBORN, LEFT_THE_GROUP], ids=["ignores SIGTERM", "left the group"])
def test_a_frozen_controller_s_command_is_killed_within_trust_and_stop_timeout(
    process_pipe: ProcessPipe, script: str
) -> None:
    with run_controller(process_pipe.shell_argv(script), trust=4.0, stop_timeout=1.0) as process:
        process_pipe.wait_for("up")
        process.send_signal(signal.SIGSTOP)
        process_pipe.wait_until_gone()
        process.send_signal(signal.SIGCONT)


def test_a_command_runs_as_long_as_the_trust_is_extended(process_pipe: ProcessPipe) -> None:
    trust, report = AdjustableTrust(5.0), RecordingReport()
    command = ExecCommand(process_pipe.shell_argv("echo up >&9; sleep 5.5; echo still >&9; sleep 600"))
    job = ExecSpec(command, PATIENT).create_job(POOL, 1.0)
    job.start(trust.term, report)
    process_pipe.wait_for("up")
    first, trust.ends_at = trust.ends_at, clock() + 60
    process_pipe.wait_for("still")
    assert clock() > first
    job.stop()
    report.wait_for("stopped")
    assert report.events == ["stopped"]


def test_a_trust_that_becomes_shorter_counts_too(process_pipe: ProcessPipe) -> None:
    trust, report = AdjustableTrust(60.0), RecordingReport()
    job = ExecSpec(ExecCommand(process_pipe.shell_argv(f"echo up >&9; {LOOP_FOREVER}")), PATIENT).create_job(
        POOL, 1.0
    )
    job.start(trust.term, report)
    process_pipe.wait_for("up")
    trust.ends_at = clock() + 0.6
    assert process_pipe.wait_until_gone() >= trust.ends_at - 0.1
    job.stop()
    report.wait_for("stopped")


def test_the_end_of_the_trust_stops_the_command_without_a_request_and_is_no_failure(
    process_pipe: ProcessPipe, log: LogCapture
) -> None:
    trust, report = AdjustableTrust(5.0), RecordingReport()
    job = ExecSpec(
        ExecCommand(process_pipe.shell_argv(f"trap 'echo asked >&9; exit 1' TERM; echo up >&9; {LOOP_FOREVER}")),
        PATIENT,
    ).create_job(POOL, 1.0)
    job.start(trust.term, report)
    process_pipe.wait_until_gone()
    process_pipe.wait_for("asked")
    log.wait_for("WARNING", "the lock: the trust has ended; the command is stopped")
    log.wait_for("INFO", "the lock: the command has ended with exit code 1")
    job.stop()
    report.wait_for("stopped")
    assert report.events == ["stopped"]


def test_a_shim_that_gets_no_new_end_in_time_is_a_failure_that_says_so(
    process_pipe: ProcessPipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never_extend(_shim_client: ShimClient, trust_left: Callable[[], float]) -> float:
        return trust_left()

    monkeypatch.setattr(ShimClient, "extend_trust", never_extend)
    trust, report = AdjustableTrust(5.0), RecordingReport()
    job = ExecSpec(ExecCommand(process_pipe.shell_argv(f"echo up >&9; {LOOP_FOREVER}")), PATIENT).create_job(
        POOL, 1.0
    )
    job.start(trust.term, report)
    process_pipe.wait_for("up")
    trust.ends_at += 60
    report.wait_for("start failed")
    assert "got no new end of the trust in time" in str(report.errors[0])
    job.stop()
    report.wait_for("stopped")


def test_a_shim_that_is_killed_ends_the_command_and_is_a_failure(
    process_pipe: ProcessPipe, log: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shims = list[subprocess.Popen[bytes]]()
    popen = subprocess.Popen

    def recording_popen(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        shims.append(popen(*arguments, **options))  # type: ignore[call-overload]  # passed on unchanged
        return shims[-1]

    monkeypatch.setattr("masterjob.jobs.exec.shim_client.subprocess.Popen", recording_popen)
    trust, report = AdjustableTrust(60.0), RecordingReport()
    job = ExecSpec(
        ExecCommand(process_pipe.shell_argv(f"(trap '' TERM; {LOOP_FOREVER}) & echo up >&9; {LOOP_FOREVER}")),
        PATIENT,
    ).create_job(POOL, 1.0)
    job.start(trust.term, report)
    process_pipe.wait_for("up")
    shims[0].kill()
    report.wait_for("start failed")
    assert "the shim of the command was killed" in str(report.errors[0])
    process_pipe.wait_until_gone()
    job.stop()
    report.wait_for("stopped")


def test_a_command_that_is_due_before_it_could_start_is_not_started(log: LogCapture, tmp_path: Path) -> None:
    marker = tmp_path / "started"
    trust, report = AdjustableTrust(60.0), RecordingReport()
    job = ExecSpec(ExecCommand(("touch", str(marker))), PATIENT).create_job(POOL, 1.0)
    launch_request = ExecCommand.launch_request

    def expired_launch_request(
        command: ExecCommand, term: LiveTerm, now: float, trust_left: float, grace_period: float
    ) -> LaunchRequest:
        return launch_request(command, term, now - 100, trust_left, grace_period)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExecCommand, "launch_request", expired_launch_request)
        job.start(trust.term, report)
        log.wait_for("WARNING", "the lock: the trust has ended; the command is stopped")
    job.stop()
    report.wait_for("stopped")
    assert not marker.exists()


def test_many_commands_share_one_trust_feed_thread(tmp_path: Path) -> None:
    trust, reports, jobs = AdjustableTrust(60.0), [RecordingReport() for _ in range(20)], list[Job]()
    for report in reports:
        jobs.append(ExecSpec(ExecCommand(("true",)), ON_FAILURE).create_job(POOL, WAIT_TIMEOUT))
        jobs[-1].start(trust.term, report)
    for report in reports:
        report.wait_for("started")
    assert [thread.name for thread in threading.enumerate()].count("masterjob-trust-feed") == 1
    for job, report in zip(jobs, reports, strict=True):
        job.stop()
        report.wait_for("stopped")
