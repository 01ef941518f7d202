"""A command as a job, with real processes: its environment, and how its end is reported."""

import os
import threading
from pathlib import Path

import pytest

from masterjob.concurrency.clock import clock
from masterjob.election.ports import Job
from masterjob.jobs.exec.command import ExecCommand
from masterjob.jobs.exec.execution import CommandFailed
from masterjob.jobs.exec.shim import LaunchRequest
from masterjob.jobs.exec.shim_client import ShimClient
from masterjob.jobs.exec.spec import ExecSpec
from masterjob.jobs.policy import Restart, RunPolicy
from tests.jobs.commands import ON_FAILURE, PATIENT, POOL, start_job
from tests.jobs.fixtures import ManualThreadPool, RecordingReport, live_term
from tests.jobs.process_checks import LogCapture, ProcessPipe
from tests.timeouts import WAIT_TIMEOUT

LOOP_FOREVER = "while :; do sleep 0.1; done"  # short: a shell runs its traps only between two commands


def test_it_fits_the_port() -> None:
    job: Job = ExecSpec(ExecCommand(("true",)), PATIENT).create_job(ManualThreadPool(), 1.0)
    job.stop()


def test_what_it_writes_goes_into_the_log_with_the_name_of_the_lock(log: LogCapture) -> None:
    job, report = start_job("sh", "-c", "echo out; echo; echo complaint >&2; printf 'no\\033[2Jend'")
    for level, line in [("INFO", "out"), ("INFO", ""), ("INFO", "complaint"), ("INFO", "no\\x1b[2Jend")]:
        log.wait_for(level, f"the lock: {line}")
    job.stop()
    report.wait_for("stopped")


def test_its_environment_has_lock_term_and_lease_beside_ours_and_its_own(
    log: LogCapture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OURS", "ours")
    monkeypatch.setenv("CHANGED", "ours")
    words = "$MASTERJOB_LOCK_NAME|$MASTERJOB_TERM|$MASTERJOB_LEASE_ENDS|$OURS|$CHANGED|$(pwd -P)|$(cat)"
    command = ExecCommand(("sh", "-c", f'echo "{words}"'), {"CHANGED": "its own"}, str(tmp_path))
    job, report = ExecSpec(command, PATIENT).create_job(POOL, 1.0), RecordingReport()
    job.start(live_term(trust=12.5), report)
    log.wait_for("INFO", f"the lock: the lock|7|12.500|ours|its own|{tmp_path.resolve()}|")
    job.stop()
    report.wait_for("stopped")


def test_a_command_inherits_no_ignored_or_blocked_signal_and_no_open_file(
    process_pipe: ProcessPipe, log: LogCapture
) -> None:
    script = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; ls /proc/self/fd"
    job, report = start_job("sh", "-c", script, policy=ON_FAILURE)
    log.wait_for("INFO", "the lock: the command is done; the lock is kept")
    log.wait_until(lambda: sum("Sig" in line for _, line in log.lines) == 3)
    masks = [int(line.split()[-1], 16) for _, line in log.lines if "SigBlk" in line or "SigIgn" in line]
    threading_library = 1 << 31 | 1 << 32  # signals 32 and 33 belong to the C library, and no program can set them
    assert [mask & ~threading_library for mask in masks] == [0, 0]
    log.wait_until(lambda: ("INFO", "the lock: 3") in log.lines)  # what ls itself has opened
    assert ("INFO", "the lock: 4") not in log.lines
    job.stop()
    report.wait_for("stopped")


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("exit 3", "the command ended with exit code 3"),
        (
            "echo first >&2; echo last >&2; echo >&2; exit 1",
            "exit code 1; last error line: last",
        ),
        ("kill -USR1 $$", "the command ended with signal SIGUSR1"),
    ],
)
def test_any_other_end_is_a_failure_with_the_exit_and_the_last_error_line(script: str, sentence: str) -> None:
    job, report = start_job("sh", "-c", script)
    report.wait_for("start failed")
    assert isinstance(report.errors[0], CommandFailed)
    assert sentence in str(report.errors[0])
    job.stop()
    report.wait_for("stopped")
    assert report.events == ["start failed", "stopped"]


@pytest.mark.parametrize(
    ("command", "directory", "sentence"),
    [
        ("no-such-command", None, "command no-such-command cannot be used: No such file or directory"),
        ("/dev/null", None, "command /dev/null cannot be used: Permission denied"),
        ("true", "/no/such", "directory /no/such cannot be used: No such file or directory"),
    ],
)
def test_what_cannot_be_started_fails_with_the_reason(command: str, directory: str | None, sentence: str) -> None:
    job, report = start_job(command, directory=directory)
    report.wait_for("start failed")
    assert str(report.errors[0]) == sentence
    job.stop()
    report.wait_for("stopped")


def test_a_shim_that_cannot_be_started_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    job, report = start_job("true")
    report.wait_for("start failed")
    assert "the shim of the command cannot be started" in str(report.errors[0])
    job.stop()
    report.wait_for("stopped")


def test_a_command_is_running_when_it_has_lived_for_its_start_time(process_pipe: ProcessPipe) -> None:
    argv = process_pipe.shell_argv(f"echo up >&9; {LOOP_FOREVER}")
    job, report = start_job(*argv, policy=RunPolicy(start_seconds=0.2))
    report.wait_for("started")
    job.stop()
    report.wait_for("stopped")
    assert report.events == ["started", "stopped"]
    assert report.phases == ["Starting", "Running", "Stopping"]


def test_until_then_it_is_starting(process_pipe: ProcessPipe) -> None:
    job, report = start_job(*process_pipe.shell_argv(f"echo up >&9; {LOOP_FOREVER}"))
    process_pipe.wait_for("up")
    job.stop()
    report.wait_for("stopped")
    assert report.phases == ["Starting", "Stopping"]


def test_a_command_that_fails_after_it_counted_as_started_is_still_a_failure(
    process_pipe: ProcessPipe, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    argv = process_pipe.shell_argv(f"read word < {go}; exit 4")
    job, report = start_job(*argv, policy=RunPolicy(start_seconds=0.1))
    report.wait_for("started")
    go.write_text("go\n")
    report.wait_for("start failed")
    job.stop()
    report.wait_for("stopped")
    assert report.events == ["started", "start failed", "stopped"]


def test_a_stop_signals_the_whole_group_and_waits_until_it_is_gone(process_pipe: ProcessPipe) -> None:
    child = "sh -c 'trap \"echo child >&9; exit\" TERM; echo up >&9; while :; do sleep 0.05; done'"
    job, report = start_job(*process_pipe.shell_argv(f"trap 'wait; echo parent >&9; exit' TERM; {child} & wait"))
    process_pipe.wait_for("up")
    job.stop()
    report.wait_for("stopped")
    process_pipe.wait_for("child")
    process_pipe.wait_for("parent")
    process_pipe.wait_until_gone()
    assert report.events == ["stopped"]


def test_a_command_that_ignores_sigterm_is_killed_with_its_children_before_the_stop_timeout_is_over(
    process_pipe: ProcessPipe,
) -> None:
    job, report = start_job(
        *process_pipe.shell_argv(f"trap '' TERM; sleep 600 & echo up >&9; {LOOP_FOREVER}"), stop_timeout=1.0
    )
    process_pipe.wait_for("up")
    stop_requested_at = clock()
    job.stop()
    report.wait_for("stopped")
    assert clock() - stop_requested_at > 0.85
    process_pipe.wait_until_gone()


def test_a_stop_timeout_that_is_shortened_counts_for_what_runs_already(process_pipe: ProcessPipe) -> None:
    job, report = start_job(
        *process_pipe.shell_argv(f"trap '' TERM; echo up >&9; {LOOP_FOREVER}"), stop_timeout=3600.0
    )
    process_pipe.wait_for("up")
    job.set_stop_timeout(0.5)
    job.stop()
    report.wait_for("stopped")
    process_pipe.wait_until_gone()


def test_a_stop_timeout_that_is_lengthened_gives_what_runs_already_the_time(
    process_pipe: ProcessPipe, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    save = f"echo asked >&9; read word < {go}; echo saved >&9; exit 0"
    job, report = start_job(
        *process_pipe.shell_argv(f"trap '{save}' TERM; echo up >&9; {LOOP_FOREVER}"), stop_timeout=0.001
    )
    process_pipe.wait_for("up")
    job.set_stop_timeout(3600.0)
    job.stop()
    process_pipe.wait_for("asked")
    go.write_text("go\n")
    process_pipe.wait_for("saved")
    report.wait_for("stopped")


def test_a_stop_timeout_that_changes_after_the_stop_changes_nothing_of_it(process_pipe: ProcessPipe) -> None:
    job, report = start_job(
        *process_pipe.shell_argv(f"trap 'echo asked >&9' TERM; echo up >&9; {LOOP_FOREVER}"), stop_timeout=1.0
    )
    process_pipe.wait_for("up")
    job.stop()
    process_pipe.wait_for("asked")
    job.set_stop_timeout(3600.0)
    report.wait_for("stopped")


def test_a_child_that_left_the_group_is_ended_too(process_pipe: ProcessPipe) -> None:
    job, report = start_job(
        *process_pipe.shell_argv(f"setsid sh -c 'echo left >&9; {LOOP_FOREVER}' & echo up >&9; {LOOP_FOREVER}")
    )
    process_pipe.wait_for("up")
    process_pipe.wait_for("left")
    job.stop()
    report.wait_for("stopped")
    process_pipe.wait_until_gone()


@pytest.mark.parametrize("restart", [Restart.ALWAYS, Restart.ON_FAILURE])
def test_what_a_command_leaves_running_with_exit_code_0_runs_until_the_stop_and_is_not_started_twice(
    process_pipe: ProcessPipe, restart: Restart
) -> None:
    argv = process_pipe.shell_argv(f"(trap 'echo asked >&9; exit' TERM; echo up >&9; {LOOP_FOREVER}) & exit 0")
    job, report = start_job(*argv, policy=RunPolicy(restart, start_seconds=0.2))
    process_pipe.wait_for("up")
    report.wait_for("started")
    job.stop()
    report.wait_for("stopped")
    process_pipe.wait_until_gone()
    assert report.events == ["started", "stopped"]


def test_what_a_failed_command_leaves_running_is_ended(process_pipe: ProcessPipe) -> None:
    job, report = start_job(*process_pipe.shell_argv("sleep 600 & exit 1"))
    report.wait_for("start failed")
    process_pipe.wait_until_gone()
    job.stop()
    report.wait_for("stopped")


def test_a_suspended_command_can_be_stopped(process_pipe: ProcessPipe) -> None:
    job, report = start_job(
        *process_pipe.shell_argv(f"trap 'echo asked >&9; exit' TERM; echo up >&9; kill -STOP $$; {LOOP_FOREVER}")
    )
    process_pipe.wait_for("up")
    job.stop()
    report.wait_for("stopped")
    process_pipe.wait_for("asked")


def test_a_stop_before_anything_was_started_starts_nothing() -> None:
    pool, report = ManualThreadPool(), RecordingReport()
    job = ExecSpec(ExecCommand(("false",)), PATIENT).create_job(pool, 1.0)
    job.start(live_term(), report)
    job.stop()
    assert report.events == ["stopped"]
    pool.run_all()
    assert report.events == ["stopped"]


def test_a_lost_term_starts_nothing() -> None:
    pool, report = ManualThreadPool(), RecordingReport()
    job = ExecSpec(ExecCommand(("false",)), PATIENT).create_job(pool, 1.0)
    job.start(live_term(trust=0.0), report)
    pool.run_all()
    job.stop()
    assert report.events == ["stopped"]


def test_a_stop_while_the_shim_is_being_started_is_not_lost(
    process_pipe: ProcessPipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch, launching, go = ShimClient.launch, threading.Event(), threading.Event()

    def slow_launch(name: str) -> ShimClient:
        launching.set()
        assert go.wait(WAIT_TIMEOUT)
        return launch(name)

    monkeypatch.setattr(ShimClient, "launch", slow_launch)
    job, report = start_job(*process_pipe.shell_argv(LOOP_FOREVER))
    assert launching.wait(WAIT_TIMEOUT)
    job.stop()
    go.set()
    report.wait_for("stopped")
    assert report.events == ["stopped"]


def test_a_stop_right_after_the_launch_request_takes_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    start_command, jobs = ShimClient.start_command, list[Job]()

    def start_then_stop(shim_client: ShimClient, request: LaunchRequest) -> None:
        start_command(shim_client, request)
        jobs[0].stop()

    monkeypatch.setattr(ShimClient, "start_command", start_then_stop)
    pool, report = ManualThreadPool(), RecordingReport()
    jobs.append(ExecSpec(ExecCommand(("sleep", "600")), PATIENT).create_job(pool, WAIT_TIMEOUT))
    jobs[0].start(live_term(), report)
    pool.run_all()
    assert report.events == ["stopped"]


def test_stop_twice_is_once_and_another_run_may_follow() -> None:
    job, report = start_job("sleep", "600")
    job.stop()
    job.stop()
    report.wait_for("stopped")
    job.stop()
    second_report = RecordingReport()
    job.start(live_term(), second_report)
    job.stop()
    second_report.wait_for("stopped")
    assert (report.events, second_report.events) == (["stopped"], ["stopped"])


def test_fifty_runs_leave_no_process_and_no_file_behind(log: LogCapture) -> None:
    def run_once(argv: tuple[str, ...]) -> None:
        job, report = start_job(*argv)
        job.stop()
        report.wait_for("stopped")

    run_once(("true",))
    open_before = count_open_files()
    for number in range(50):
        run_once([("true",), ("false",), ("sleep", "600"), ("no-such-command",), ("echo", "word")][number % 5])
    pause, deadline = threading.Event(), clock() + WAIT_TIMEOUT
    while count_open_files() > open_before and clock() < deadline:
        pause.wait(0.01)  # another thread closes the last output
    assert count_open_files() <= open_before
    assert not list_zombies()


def count_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def list_zombies() -> list[str]:
    zombie_pids = []
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            zombie_pids += [pid] if status[0] == "Z" else []
    return zombie_pids
