"""A command as a job, with real processes: what it is given, and how its end is reported."""

import os
import threading
from pathlib import Path

import pytest

from masterjob.election.clock import clock
from masterjob.election.ports import Job
from masterjob.jobs.command import run as commandrun
from masterjob.jobs.command.command import Command
from masterjob.jobs.command.job import ExecJob
from masterjob.jobs.command.keeper import Order
from masterjob.jobs.command.leash import Leash
from masterjob.jobs.command.run import CommandFailed
from masterjob.jobs.crew import Crew
from tests.jobs.shell import Life, Log
from tests.jobs.stage import SOON, HandCrew, Notes, live_term

CREW = Crew("test-commands")
LONG = "while :; do sleep 0.1; done"  # short: a shell looks at its traps only between two commands


def run(*argv: str, stop_timeout: float = SOON, directory: str | None = None) -> tuple[ExecJob, Notes]:
    job, notes = ExecJob(Command(argv, {}, directory), CREW, stop_timeout), Notes()
    job.start(live_term(), notes)
    return job, notes


def test_it_fits_the_port() -> None:
    job: Job = ExecJob(Command(("true",)), HandCrew(), 1.0)
    job.stop()


def test_what_it_writes_goes_into_the_log_with_the_name_of_the_lock(log: Log) -> None:
    job, notes = run("sh", "-c", "echo out; echo; echo complaint >&2; printf 'no\\033[2Jend'")
    for level, line in [("INFO", "out"), ("INFO", ""), ("WARNING", "complaint"), ("INFO", "no\\x1b[2Jend")]:
        log.wait_for(level, f"the lock: {line}")
    job.stop()
    notes.wait_for("stopped")


def test_it_learns_lock_term_and_lease_beside_our_environment_and_its_own(
    log: Log, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OURS", "ours")
    monkeypatch.setenv("CHANGED", "ours")
    words = "$MASTERJOB_LOCK_NAME|$MASTERJOB_TERM|$MASTERJOB_LEASE_ENDS|$OURS|$CHANGED|$(pwd -P)|$(cat)"
    command = Command(("sh", "-c", f'echo "{words}"'), {"CHANGED": "its own"}, str(tmp_path))
    job, notes = ExecJob(command, CREW, 1.0), Notes()
    job.start(live_term(trust=12.5), notes)
    log.wait_for("INFO", f"the lock: the lock|7|12.500|ours|its own|{tmp_path.resolve()}|")
    job.stop()
    notes.wait_for("stopped")


def test_a_command_finds_no_signal_ignored_or_blocked_and_no_file_of_ours_open(life: Life, log: Log) -> None:
    script = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; ls /proc/self/fd"
    job, notes = run("sh", "-c", script)
    log.wait_for("INFO", "the lock: the command is done; the lock is kept")
    log.wait_until(lambda: sum("Sig" in line for _, line in log.lines) == 3)
    masks = [int(line.split()[-1], 16) for _, line in log.lines if "SigBlk" in line or "SigIgn" in line]
    threading_library = 1 << 31 | 1 << 32  # signals 32 and 33 are the C library's own: nobody else can set them
    assert [mask & ~threading_library for mask in masks] == [0, 0]
    log.wait_until(lambda: ("INFO", "the lock: 3") in log.lines)  # what ls itself has opened
    assert ("INFO", "the lock: 4") not in log.lines
    job.stop()
    notes.wait_for("stopped")


def test_exit_code_0_keeps_the_lock_until_it_is_stopped(log: Log) -> None:
    job, notes = run("true")
    notes.wait_for("started")
    log.wait_for("INFO", "the lock: the command is done; the lock is kept")
    assert notes.told == ["started"]
    job.stop()
    notes.wait_for("stopped")
    assert notes.told == ["started", "stopped"]


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("exit 3", "the command ended with exit code 3"),
        ("echo first >&2; echo last >&2; echo >&2; exit 1", "exit code 1; it said last: last"),
        ("kill -USR1 $$", "the command ended with signal SIGUSR1"),
    ],
)
def test_any_other_end_fails_with_how_and_the_last_words(script: str, sentence: str) -> None:
    job, notes = run("sh", "-c", script)
    notes.wait_for("start failed")
    assert isinstance(notes.errors[0], CommandFailed)
    assert sentence in str(notes.errors[0])
    job.stop()
    notes.wait_for("stopped")
    assert notes.told == ["start failed", "stopped"]


@pytest.mark.parametrize(
    ("command", "directory", "sentence"),
    [
        ("no-such-command", None, "command no-such-command cannot be used: No such file or directory"),
        ("/dev/null", None, "command /dev/null cannot be used: Permission denied"),
        ("true", "/no/such", "directory /no/such cannot be used: No such file or directory"),
    ],
)
def test_what_cannot_be_started_fails_with_the_reason(command: str, directory: str | None, sentence: str) -> None:
    job, notes = run(command, directory=directory)
    notes.wait_for("start failed")
    assert str(notes.errors[0]) == sentence
    job.stop()
    notes.wait_for("stopped")


def test_a_keeper_that_cannot_be_started_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    job, notes = run("true")
    notes.wait_for("start failed")
    assert "the keeper of the command cannot be started" in str(notes.errors[0])
    job.stop()
    notes.wait_for("stopped")


def test_a_command_counts_as_started_when_it_has_lasted(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commandrun, "SETTLING", 0.2)
    job, notes = run(*life.script(f"echo up >&9; {LONG}"))
    notes.wait_for("started")
    job.stop()
    notes.wait_for("stopped")
    assert notes.told == ["started", "stopped"]


def test_a_command_that_fails_later_than_that_fails_all_the_same(
    life: Life, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(commandrun, "SETTLING", 0.1)
    go = tmp_path / "go"
    os.mkfifo(go)
    job, notes = run(*life.script(f"read word < {go}; exit 4"))
    notes.wait_for("started")
    go.write_text("go\n")
    notes.wait_for("start failed")
    job.stop()
    notes.wait_for("stopped")
    assert notes.told == ["started", "start failed", "stopped"]


def test_stop_asks_the_whole_group_and_waits_until_it_is_gone(life: Life) -> None:
    child = "sh -c 'trap \"echo child >&9; exit\" TERM; echo up >&9; while :; do sleep 0.05; done'"
    job, notes = run(*life.script(f"trap 'wait; echo parent >&9; exit' TERM; {child} & wait"))
    life.wait_for("up")
    job.stop()
    notes.wait_for("stopped")
    life.wait_for("child")
    life.wait_for("parent")
    life.wait_gone()
    assert notes.told == ["stopped"]


def test_who_ignores_sigterm_is_killed_with_its_children_before_the_stop_timeout_is_over(life: Life) -> None:
    job, notes = run(*life.script(f"trap '' TERM; sleep 600 & echo up >&9; {LONG}"), stop_timeout=1.0)
    life.wait_for("up")
    asked = clock()
    job.stop()
    notes.wait_for("stopped")
    assert clock() - asked > 0.85
    life.wait_gone()


def test_a_stop_timeout_that_is_shortened_counts_for_what_runs_already(life: Life) -> None:
    job, notes = run(*life.script(f"trap '' TERM; echo up >&9; {LONG}"), stop_timeout=3600.0)
    life.wait_for("up")
    job.stop_within(0.5)
    job.stop()
    notes.wait_for("stopped")
    life.wait_gone()


def test_a_stop_timeout_that_is_lengthened_gives_what_runs_already_the_time(life: Life, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    save = f"echo asked >&9; read word < {go}; echo saved >&9; exit 0"
    job, notes = run(*life.script(f"trap '{save}' TERM; echo up >&9; {LONG}"), stop_timeout=0.001)
    life.wait_for("up")
    job.stop_within(3600.0)
    job.stop()
    life.wait_for("asked")
    go.write_text("go\n")
    life.wait_for("saved")
    notes.wait_for("stopped")


def test_a_stop_timeout_that_changes_after_the_stop_changes_nothing_of_it(life: Life) -> None:
    job, notes = run(*life.script(f"trap 'echo asked >&9' TERM; echo up >&9; {LONG}"), stop_timeout=1.0)
    life.wait_for("up")
    job.stop()
    life.wait_for("asked")
    job.stop_within(3600.0)
    notes.wait_for("stopped")


def test_a_child_that_left_the_group_is_ended_too(life: Life) -> None:
    job, notes = run(*life.script(f"setsid sh -c 'echo left >&9; {LONG}' & echo up >&9; {LONG}"))
    life.wait_for("up")
    life.wait_for("left")
    job.stop()
    notes.wait_for("stopped")
    life.wait_gone()


def test_what_a_command_leaves_running_with_exit_code_0_runs_until_the_stop(life: Life) -> None:
    job, notes = run(*life.script(f"(trap 'echo asked >&9; exit' TERM; echo up >&9; {LONG}) & exit 0"))
    life.wait_for("up")
    notes.wait_for("started")
    job.stop()
    notes.wait_for("stopped")
    life.wait_gone()
    assert notes.told == ["started", "stopped"]


def test_what_a_failed_command_leaves_running_is_ended(life: Life) -> None:
    job, notes = run(*life.script("sleep 600 & exit 1"))
    notes.wait_for("start failed")
    life.wait_gone()
    job.stop()
    notes.wait_for("stopped")


def test_a_command_that_is_held_still_can_be_stopped(life: Life) -> None:
    job, notes = run(*life.script(f"trap 'echo asked >&9; exit' TERM; echo up >&9; kill -STOP $$; {LONG}"))
    life.wait_for("up")
    job.stop()
    notes.wait_for("stopped")
    life.wait_for("asked")


def test_a_stop_before_anything_was_started_starts_nothing() -> None:
    crew, notes = HandCrew(), Notes()
    job = ExecJob(Command(("false",)), crew, 1.0)
    job.start(live_term(), notes)
    job.stop()
    assert notes.told == ["stopped"]
    crew.settle()
    assert notes.told == ["stopped"]


def test_a_lost_term_starts_nothing() -> None:
    crew, notes = HandCrew(), Notes()
    job = ExecJob(Command(("false",)), crew, 1.0)
    job.start(live_term(trust=0.0), notes)
    crew.settle()
    job.stop()
    assert notes.told == ["stopped"]


def test_a_stop_while_the_keeper_is_being_started_is_not_lost(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    launch, launching, go = Leash.launch, threading.Event(), threading.Event()

    def slow(name: str) -> Leash:
        launching.set()
        assert go.wait(SOON)
        return launch(name)

    monkeypatch.setattr(Leash, "launch", slow)
    job, notes = run(*life.script(LONG))
    assert launching.wait(SOON)
    job.stop()
    go.set()
    notes.wait_for("stopped")
    assert notes.told == ["stopped"]


def test_a_stop_right_after_the_order_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    order, jobs = Leash.order, list[ExecJob]()

    def stopped_meanwhile(leash: Leash, given: Order) -> None:
        order(leash, given)
        jobs[0].stop()

    monkeypatch.setattr(Leash, "order", stopped_meanwhile)
    crew, notes = HandCrew(), Notes()
    jobs.append(ExecJob(Command(("sleep", "600")), crew, SOON))
    jobs[0].start(live_term(), notes)
    crew.settle()
    assert notes.told == ["stopped"]


def test_stop_twice_is_once_and_another_run_may_follow() -> None:
    job, notes = run("sleep", "600")
    job.stop()
    job.stop()
    notes.wait_for("stopped")
    job.stop()
    again = Notes()
    job.start(live_term(), again)
    job.stop()
    again.wait_for("stopped")
    assert (notes.told, again.told) == (["stopped"], ["stopped"])


def test_fifty_runs_leave_no_process_and_no_file_behind(log: Log) -> None:
    def one(argv: tuple[str, ...]) -> None:
        job, notes = run(*argv)
        job.stop()
        notes.wait_for("stopped")

    one(("true",))
    before = open_files()
    for number in range(50):
        one([("true",), ("false",), ("sleep", "600"), ("no-such-command",), ("echo", "word")][number % 5])
    pause, patience = threading.Event(), clock() + SOON
    while open_files() > before and clock() < patience:
        pause.wait(0.01)  # the last output is closed by a thread of its own
    assert open_files() <= before
    assert not zombies()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def zombies() -> list[str]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found += [pid] if status[0] == "Z" else []
    return found
