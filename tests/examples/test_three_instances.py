"""How `make run` and `make run-kube` start, restart and end their processes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples import demonstration
from masterjob.errors import SettingError
from tests.examples.conftest import EXAMPLES, StartExample

SLEEP = demonstration.ProcessSpec(["sleep", "600"], {})


@pytest.fixture
def shutdown_signals() -> Iterator[demonstration.ShutdownSignals]:
    signums = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers_before = {signum: signal.getsignal(signum) for signum in signums}
    yield demonstration.ShutdownSignals()
    for number, handler in handlers_before.items():
        signal.signal(number, handler)


@pytest.fixture
def run_lock(tmp_path: Path) -> Iterator[demonstration.RunLock]:
    with demonstration.RunLock("make run", tmp_path / "lock") as run_lock:
        yield run_lock


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory like a clone, so that no other run interferes; with a space in its name, as happens."""
    clone = tmp_path / "a clone"
    shutil.copytree(EXAMPLES, clone / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    manifest = clone / "examples" / "manifests" / "ticker.yaml"
    changed = manifest.read_text().replace("leaseDuration: 3s", "leaseDuration: 60s")  # no stall ends such a lease
    manifest.write_text(changed)
    return clone


# --- restarts


def test_a_dead_process_is_replaced_and_in_the_end_all_are_ended(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run_lock: demonstration.RunLock,
    shutdown_signals: demonstration.ShutdownSignals,
) -> None:
    monkeypatch.setattr(demonstration, "RESTART_DELAY", 0.0)
    started: list[tuple[str, demonstration.Process]] = []

    class RecordingSupervisor(demonstration.ProcessSupervisor):
        def _start(self, name: str) -> None:
            super()._start(name)
            started.append((name, self._processes[name]))

    def kill_the_first_then_wait_for_another() -> bool:
        started[0][1].kill()
        if len(started) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return True

    supervisor = RecordingSupervisor(run_lock, lambda _: SLEEP, "{name} has ended; another starts")
    supervisor.run("ab", 0.0, shutdown_signals, kill_the_first_then_wait_for_another)
    assert [name for name, _ in started] == ["a", "b", "a"]
    assert capsys.readouterr().out == "   a has ended; another starts in 0 s\n\n"
    assert all(process.returncode is not None for _, process in started)


def test_each_line_says_which_process_printed_it(
    capfd: pytest.CaptureFixture[str],
    run_lock: demonstration.RunLock,
    shutdown_signals: demonstration.ShutdownSignals,
) -> None:
    speaker = demonstration.ProcessSpec(["sh", "-c", "echo out; echo error >&2; exec sleep 600"], {})
    printed = ""

    def both_have_spoken() -> bool:
        nonlocal printed
        printed += capfd.readouterr().out
        if printed.count("\n") == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return True

    demonstration.ProcessSupervisor(run_lock, lambda _: speaker, "").run(
        ["web-1", "web-2"], 0.0, shutdown_signals, both_have_spoken
    )
    assert sorted(printed.splitlines()) == [
        "web-1 | error",
        "web-1 | out",
        "web-2 | error",
        "web-2 | out",
    ]


def test_the_seconds_are_counted_from_the_first_master(
    run_lock: demonstration.RunLock, shutdown_signals: demonstration.ShutdownSignals
) -> None:
    answers = iter([False, False, False, True])
    supervisor = demonstration.ProcessSupervisor(run_lock, lambda _: SLEEP, "")
    supervisor.run("a", 1e-9, shutdown_signals, lambda: next(answers))
    assert list(answers) == []
    assert not shutdown_signals.requested


@pytest.mark.parametrize("text", ["10", "1.5", " 7"])
def test_a_number_without_a_unit_is_refused_since_it_would_be_milliseconds(text: str) -> None:
    with pytest.raises(SettingError, match=f"FOR={text} has no unit: write FOR={text}s for seconds"):
        demonstration.parse_seconds(text)


def test_a_number_with_a_unit_is_accepted() -> None:
    assert [demonstration.parse_seconds(text) for text in ("0s", "10s", "1m30s")] == [0, 10, 90]


def test_a_port_in_use_is_skipped() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken_port = listener.getsockname()[1]
        first, second, third = demonstration.free_ports(3, first=taken_port)
    assert taken_port < first < second < third


# --- one run at a time


@pytest.mark.usefixtures("run_lock")
def test_a_second_run_is_refused_and_names_the_first(tmp_path: Path) -> None:
    message = rf"^make run is already running \(pid {os.getpid()}\): end it with Ctrl-C$"
    with pytest.raises(SystemExit, match=message):
        demonstration.RunLock("make run", tmp_path / "lock")


def test_leftovers_of_a_killed_run_block_the_next_one(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as exited_process:
        exited_process.wait()
    with demonstration.RunLock("make run", tmp_path / "lock") as run_lock:
        orphan = subprocess.Popen(["sleep", "600"], pass_fds=[run_lock.descriptor])
    (tmp_path / "lock").write_text(f"{exited_process.pid} {orphan.pid}")
    with orphan:
        with pytest.raises(SystemExit, match=f"^make run was killed, .* end them with kill {orphan.pid}$"):
            demonstration.RunLock("make run", tmp_path / "lock")
        orphan.kill()
    with demonstration.RunLock("make run", tmp_path / "lock"):
        pass  # the leftover process has ended


# --- the whole command


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_makes_the_master_step_down_and_prints_it(start: StartExample, clone: Path, signum: int) -> None:
    run = start("examples.three_instances", directory=clone)
    run.wait_for_line("master of TICKER")
    second = start("examples.three_instances", directory=clone)
    second.wait_for_line(f"make run is already running (pid {run.pid}): end it with Ctrl-C")
    assert second.wait() == 1
    run.send_signal(signum)
    run.wait_for_line("stepped down from TICKER: SIGTERM")
    assert "Traceback" not in "\n".join(run.lines_read + run.remaining_lines())
    assert run.wait() == 0
    assert not (clone / ".run").exists()


def test_ctrl_c_at_the_start_ends_it_without_a_traceback(start: StartExample, clone: Path) -> None:
    run = start("examples.three_instances", directory=clone)
    run.wait_for_line("Three controllers compete")
    run.send_signal(signal.SIGINT)
    assert "Traceback" not in "\n".join(run.remaining_lines())
    assert run.wait() == 0


def test_it_ends_by_itself(start: StartExample, clone: Path) -> None:
    run = start("examples.three_instances", "--for", "10ms", directory=clone)
    run.wait_for_line("master of TICKER")
    run.wait_for_line("stepped down from TICKER: SIGTERM")
    assert run.wait() == 0


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_interrupted_setup_starts_again(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements-dev.lock"):
        shutil.copy(EXAMPLES.parent / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    assert "-m venv --clear .venv" in _make_dry_run(tmp_path)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    assert "venv --clear" not in _make_dry_run(tmp_path)


def _make_dry_run(directory: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    result = subprocess.run(
        ["make", "--dry-run", "install"],
        cwd=directory,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return result.stdout
