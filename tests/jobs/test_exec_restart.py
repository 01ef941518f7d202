"""What follows when a command exits: a restart in place, the end of its work, or another instance."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from masterjob.concurrency.backoff import Backoff
from masterjob.election.term import LiveTerm
from masterjob.election.values import Term
from masterjob.job_status import RunPhase
from masterjob.jobs import lifecycle
from masterjob.jobs.exec.command import ExecCommand
from masterjob.jobs.exec.execution import CommandFailed, Execution
from masterjob.jobs.exec.spec import ExecSpec
from masterjob.jobs.lifecycle import Exited
from masterjob.jobs.policy import Restart, RunPolicy
from tests.jobs.commands import ON_FAILURE, PATIENT, POOL, start_job
from tests.jobs.fixtures import ManualThreadPool, RecordingReport, refuse_guard
from tests.jobs.process_checks import LogCapture, ProcessPipe


@pytest.mark.parametrize("restart", [Restart.ON_FAILURE, Restart.NEVER])
def test_a_command_that_is_not_always_restarted_is_completed_with_exit_code_0(
    restart: Restart, log: LogCapture
) -> None:
    job, report = start_job("true", policy=replace(PATIENT, restart=restart))
    report.wait_for("started")
    log.wait_for("INFO", "the lock: the command is done; the lock is kept")
    assert report.events == ["started"]
    job.stop()
    report.wait_for("stopped")
    assert report.events == ["started", "stopped"]
    assert report.phases == ["Starting", "Completed"]
    assert report.runs[-1].exit_code == 0


def test_a_command_is_started_again_in_place_with_the_trust_of_that_moment(
    log: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "RESTART_BACKOFF", Backoff(0.0, 0.0))
    trust = iter(range(1000, 0, -1))
    term = LiveTerm(Term("the lock", 7), lambda: float(next(trust)), refuse_guard)
    job = ExecSpec(ExecCommand(("sh", "-c", "echo ends $MASTERJOB_LEASE_ENDS")), PATIENT).create_job(POOL, 60.0)
    report = RecordingReport()
    job.start(term, report)
    third = report.wait_for_run(lambda run: run.restarts == 2 and run.phase is RunPhase.FAILED)
    job.stop()
    report.wait_for("stopped")
    assert (third.exit_code, third.failures, third.has_run) == (0, 3, False)
    assert report.phases[:4] == ["Starting", "Failed", "Starting", "Failed"]
    assert re.fullmatch(r"the command ended with exit code 0 after \d+\.\d s", third.last_error)
    ends = [line for _, line in log.lines if line.startswith("the lock: ends")]
    assert len(set(ends)) == len(ends) >= 3
    assert report.events == ["stopped"]


def test_a_command_that_has_lived_for_its_start_time_is_restarted_without_a_failure(
    process_pipe: ProcessPipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lifecycle, "RESTART_BACKOFF", Backoff(0.0, 0.0))
    go = tmp_path / "go"
    os.mkfifo(go)
    policy = RunPolicy(start_seconds=0.1)
    job, report = start_job(*process_pipe.shell_argv(f"echo up >&9; read word < {go}; exit 0"), policy=policy)
    report.wait_for("started")
    go.write_text("go\n")
    report.wait_for_run(lambda run: run.restarts == 1 and run.phase is RunPhase.RUNNING)
    job.stop()
    report.wait_for("stopped")
    assert report.phases == ["Starting", "Running", "Starting", "Starting", "Running", "Stopping"]
    assert all(run.failures == 0 for run in report.runs)
    assert report.events == ["started", "stopped"]


def test_a_stop_during_the_pause_before_a_restart_ends_it_at_once(
    log: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "RESTART_BACKOFF", Backoff(3600.0, 3600.0))
    job, report = start_job("true")
    log.wait_until(lambda: any("it is started again in 3600 s" in line for _, line in log.lines))
    job.stop()
    report.wait_for("stopped")
    assert report.phases == ["Starting", "Failed"]


def test_a_command_is_not_started_again_without_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "RESTART_BACKOFF", Backoff(0.0, 0.0))
    pool, report, trust_left = ManualThreadPool(), RecordingReport(), [60.0]
    term = LiveTerm(Term("the lock", 7), lambda: trust_left[0], refuse_guard)
    job = ExecSpec(ExecCommand(("true",)), PATIENT).create_job(pool, 1.0)
    executions = list[str]()

    def end_with_0(execution: Execution) -> None:
        executions.append("one")
        execution._on_event(Exited(0, CommandFailed("the command ended with exit code 0")))
        trust_left[0] = 0.0

    monkeypatch.setattr(Execution, "run", end_with_0)
    job.start(term, report)
    pool.run_all()
    assert executions == ["one"]
    assert report.events == []
    job.stop()
    assert report.events == ["stopped"]


def test_a_failed_command_that_must_never_be_restarted_keeps_the_lock(log: LogCapture) -> None:
    job, report = start_job("sh", "-c", "echo why >&2; exit 7", policy=replace(PATIENT, restart=Restart.NEVER))
    log.wait_until(lambda: any("last error line: why; the lock is kept" in line for _, line in log.lines))
    job.stop()
    report.wait_for("stopped")
    assert report.events == ["stopped"]
    assert (report.runs[-1].phase, report.runs[-1].exit_code) == (RunPhase.FAILED, 7)


def test_a_failure_has_the_exit_code_and_the_last_lines_of_both_outputs() -> None:
    job, report = start_job(
        "sh", "-c", "for n in $(seq 60); do echo line $n; done; sleep 0.2; echo why >&2; exit 7"
    )
    report.wait_for("start failed")
    run = report.runs[-1]
    assert (run.phase, run.exit_code, run.failures) == (RunPhase.FAILED, 7, 1)
    assert run.last_error == "the command ended with exit code 7; last error line: why"
    assert (len(run.output), run.output[-2:]) == (50, ("line 60", "why"))
    job.stop()
    report.wait_for("stopped")


def test_a_command_that_is_to_run_once_completes_for_good() -> None:
    job, report = start_job("true", policy=replace(ON_FAILURE, once=True))
    assert report.wait_for_run(lambda run: run.phase is RunPhase.COMPLETED).is_final
    job.stop()
    report.wait_for("stopped")
