"""The keeper: a command never outlives its master, whatever becomes of the controller. Real processes."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import masterjob
from masterjob.election.clock import clock
from masterjob.election.term import LiveTerm
from masterjob.election.values import Term
from masterjob.jobs.command.command import Command
from masterjob.jobs.command.job import ExecJob
from masterjob.jobs.command.keeper import Order
from masterjob.jobs.command.leash import Leash
from masterjob.jobs.crew import Crew
from tests.jobs.shell import Life, Log
from tests.jobs.stage import SOON, Notes

CREW = Crew("test-keepers")
LONG = "while :; do sleep 0.1; done"  # short: a shell looks at its traps only between two commands
STUBBORN = f"trap '' TERM; sleep 600 & echo up >&9; {LONG}"
LEFT_THE_GROUP = f"setsid sh -c 'echo up >&9; {LONG}' & {LONG}"

CONTROLLER = """
    import sys, threading
    from masterjob.election.clock import clock
    from masterjob.election.term import LiveTerm
    from masterjob.election.values import Term
    from masterjob.jobs.command.command import Command
    from masterjob.jobs.crew import Crew
    from masterjob.jobs.command.job import ExecJob

    class Report:
        def started(self): pass
        def start_failed(self, error): print("failed", error, flush=True)
        def stopped(self): pass

    trust, patience, *argv = sys.argv[1:]
    job = ExecJob(Command(tuple(argv)), Crew(), float(patience))
    job.start(LiveTerm(Term("the lock", 7), lambda: float(trust), None), Report())
    {then}
    threading.Event().wait()
"""

FORK = """
import os
reader = open({go!r})
if not os.fork():
    open({forked!r}, "w").close()
    reader.read()
    os._exit(0)
"""


@contextmanager
def controller(
    argv: tuple[str, ...], trust: float = 60.0, patience: float = 1.0, then: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a controller that always has ``trust`` seconds left, as long as it runs itself."""
    program = textwrap.dedent(CONTROLLER).replace("{then}", then)
    source_root = str(Path(str(masterjob.__file__)).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(trust), str(patience), *argv],
        env={**os.environ, "PYTHONPATH": source_root},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Trust:
    """The trust of a term, as the test sets it."""

    def __init__(self, seconds: float) -> None:
        self.end = clock() + seconds
        self.term = LiveTerm(Term("the lock", 7), lambda: self.end - clock(), _no_fence)


def _no_fence(connection: object, term: Term) -> None:
    raise AssertionError("nobody guards here")


@pytest.mark.parametrize("script", [STUBBORN, LEFT_THE_GROUP], ids=["who ignores SIGTERM", "who left the group"])
def test_a_controller_that_is_killed_takes_all_of_its_command_along(life: Life, script: str) -> None:
    with controller(life.script(script), patience=600.0) as process:
        life.wait_for("up")
        process.kill()
        life.wait_gone()


def test_a_fork_of_the_controller_that_holds_the_pipe_open_saves_nothing(life: Life, tmp_path: Path) -> None:
    go, forked = tmp_path / "go", tmp_path / "forked"
    os.mkfifo(go)
    os.mkfifo(forked)
    with controller(
        life.script(STUBBORN), patience=600.0, then=FORK.format(go=str(go), forked=str(forked))
    ) as process:
        life.wait_for("up")
        with go.open("w"):  # both wait for the other; when this is closed again, the fork ends
            forked.read_text()
            process.kill()
            life.wait_gone()


def test_a_controller_that_is_frozen_loses_its_command_when_the_trust_ends(life: Life) -> None:
    with controller(life.script(f"echo up >&9; {LONG}"), trust=1.0, patience=600.0) as process:
        life.wait_for("up")
        process.send_signal(signal.SIGSTOP)
        life.wait_gone()
        process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("script", [STUBBORN, LEFT_THE_GROUP], ids=["who ignores SIGTERM", "who left the group"])
def test_a_frozen_controller_s_command_is_killed_within_trust_and_stop_timeout(life: Life, script: str) -> None:
    with controller(life.script(script), trust=0.5, patience=1.0) as process:
        life.wait_for("up")
        process.send_signal(signal.SIGSTOP)
        life.wait_gone()
        process.send_signal(signal.SIGCONT)


def test_a_command_lives_as_long_as_the_trust_is_prolonged(life: Life) -> None:
    trust, notes = Trust(0.6), Notes()
    job = ExecJob(Command(life.script("echo up >&9; sleep 1.5; echo still >&9; sleep 600")), CREW, 1.0)
    job.start(trust.term, notes)
    life.wait_for("up")
    first, trust.end = trust.end, clock() + 60
    life.wait_for("still")
    assert clock() > first
    job.stop()
    notes.wait_for("stopped")
    assert notes.told == ["stopped"]


def test_trust_that_becomes_shorter_is_believed_too(life: Life) -> None:
    trust, notes = Trust(60.0), Notes()
    job = ExecJob(Command(life.script(f"echo up >&9; {LONG}")), CREW, 1.0)
    job.start(trust.term, notes)
    life.wait_for("up")
    trust.end = clock() + 0.6
    assert life.wait_gone() >= trust.end - 0.1
    job.stop()
    notes.wait_for("stopped")


def test_the_end_of_the_trust_ends_the_command_without_being_asked_and_is_no_failure(life: Life, log: Log) -> None:
    trust, notes = Trust(0.4), Notes()
    job = ExecJob(Command(life.script(f"trap 'echo asked >&9; exit 1' TERM; echo up >&9; {LONG}")), CREW, 1.0)
    job.start(trust.term, notes)
    life.wait_gone()
    life.wait_for("asked")
    log.wait_for("WARNING", "the lock: the trust has ended, so does the command")
    log.wait_for("INFO", "the lock: the command has ended with exit code 1")
    job.stop()
    notes.wait_for("stopped")
    assert notes.told == ["stopped"]


def test_a_keeper_that_did_not_hear_in_time_says_so(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(_leash: Leash, trust_left: Callable[[], float]) -> float:
        return trust_left()

    monkeypatch.setattr(Leash, "extend", deaf)
    trust, notes = Trust(0.6), Notes()
    job = ExecJob(Command(life.script(f"echo up >&9; {LONG}")), CREW, 1.0)
    job.start(trust.term, notes)
    life.wait_for("up")
    trust.end += 60
    notes.wait_for("start failed")
    assert "was not told in time that the trust goes on" in str(notes.errors[0])
    job.stop()
    notes.wait_for("stopped")


def test_a_keeper_that_is_killed_takes_the_command_along_and_is_a_failure(
    life: Life, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    keepers = list[subprocess.Popen[bytes]]()
    popen = subprocess.Popen

    def remembered(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        keepers.append(popen(*arguments, **options))  # type: ignore[call-overload]  # passed on as it is
        return keepers[-1]

    monkeypatch.setattr("masterjob.jobs.command.leash.subprocess.Popen", remembered)
    trust, notes = Trust(60.0), Notes()
    job = ExecJob(Command(life.script(f"(trap '' TERM; {LONG}) & echo up >&9; {LONG}")), CREW, 1.0)
    job.start(trust.term, notes)
    life.wait_for("up")
    keepers[0].kill()
    notes.wait_for("start failed")
    assert "the keeper of the command was killed" in str(notes.errors[0])
    life.wait_gone()
    job.stop()
    notes.wait_for("stopped")


def test_a_command_that_is_due_before_it_could_start_is_not_started(log: Log, tmp_path: Path) -> None:
    marker = tmp_path / "started"
    trust, notes = Trust(60.0), Notes()
    job = ExecJob(Command(("touch", str(marker))), CREW, 1.0)
    order = Command.order

    def in_the_past(command: Command, term: LiveTerm, now: float, trust: float, patience: float) -> Order:
        return order(command, term, now - 100, trust, patience)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Command, "order", in_the_past)
        job.start(trust.term, notes)
        log.wait_for("WARNING", "the lock: the trust has ended, so does the command")
    job.stop()
    notes.wait_for("stopped")
    assert not marker.exists()


def test_many_commands_are_told_by_one_thread(tmp_path: Path) -> None:
    trust, all_notes, jobs = Trust(60.0), [Notes() for _ in range(20)], list[ExecJob]()
    for notes in all_notes:
        jobs.append(ExecJob(Command(("true",)), CREW, SOON))
        jobs[-1].start(trust.term, notes)
    for notes in all_notes:
        notes.wait_for("started")
    assert [thread.name for thread in threading.enumerate()].count("masterjob feeder") == 1
    for job, notes in zip(jobs, all_notes, strict=True):
        job.stop()
        notes.wait_for("stopped")
