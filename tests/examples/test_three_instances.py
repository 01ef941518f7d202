"""What `make run` and `make run-kube` do with the processes that they start, and how they end."""

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
from masterjob.election.errors import SettingError

from .conftest import EXAMPLES, Start

SLEEP = demonstration.Command(["sleep", "600"], {})


@pytest.fixture
def ending() -> Iterator[demonstration.Ending]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield demonstration.Ending()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def only(tmp_path: Path) -> Iterator[demonstration.OnlyRun]:
    with demonstration.OnlyRun("make run", tmp_path / "lock") as only:
        yield only


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder like a clone of ours, so that no other run is in the way; with a space, as people have them."""
    clone = tmp_path / "a clone"
    shutil.copytree(EXAMPLES, clone / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return clone


# --- who is replaced, and for how long


def test_who_dies_is_replaced_and_in_the_end_all_are_ended(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    only: demonstration.OnlyRun,
    ending: demonstration.Ending,
) -> None:
    monkeypatch.setattr(demonstration, "REPLACED_AFTER", 0.0)
    started: list[tuple[str, demonstration.Process]] = []

    class Noting(demonstration.Deployment):
        def _start(self, name: str) -> None:
            super()._start(name)
            started.append((name, self._processes[name]))

    def kill_the_first_then_wait_for_another() -> bool:
        started[0][1].kill()
        if len(started) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return True

    pair = Noting(only, lambda _: SLEEP, "{name} has ended; another starts")
    pair.run("ab", 0.0, ending, kill_the_first_then_wait_for_another)
    assert [name for name, _ in started] == ["a", "b", "a"]
    assert capsys.readouterr().out == "   a has ended; another starts in 0 s\n\n"
    assert all(process.returncode is not None for _, process in started)


def test_the_seconds_are_counted_from_the_first_master(
    only: demonstration.OnlyRun, ending: demonstration.Ending
) -> None:
    looks = iter([False, False, False, True])
    one = demonstration.Deployment(only, lambda _: SLEEP, "")
    one.run("a", 1e-9, ending, lambda: next(looks))
    assert list(looks) == []
    assert not ending.asked


@pytest.mark.parametrize("text", ["10", "1.5", " 7"])
def test_a_number_without_a_unit_is_refused_since_it_would_be_milliseconds(text: str) -> None:
    with pytest.raises(SettingError, match=f"FOR={text} has no unit: write FOR={text}s for seconds"):
        demonstration.seconds_of(text)


def test_a_number_with_a_unit_is_taken() -> None:
    assert [demonstration.seconds_of(text) for text in ("0s", "10s", "1m30s")] == [0, 10, 90]


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        taken = somebody.getsockname()[1]
        first, second, third = demonstration.free_ports(3, first=taken)
    assert taken < first < second < third


# --- one at a time


@pytest.mark.usefixtures("only")
def test_a_second_run_is_refused_and_says_who_runs(tmp_path: Path) -> None:
    words = rf"^make run is running already \(pid {os.getpid()}\): end it with Ctrl-C$"
    with pytest.raises(SystemExit, match=words):
        demonstration.OnlyRun("make run", tmp_path / "lock")


def test_what_a_killed_run_has_left_keeps_the_next_one_out(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with demonstration.OnlyRun("make run", tmp_path / "lock") as only:
        orphan = subprocess.Popen(["sleep", "600"], pass_fds=[only.descriptor])
    (tmp_path / "lock").write_text(f"{gone.pid} {orphan.pid}")
    with orphan:
        with pytest.raises(SystemExit, match=f"^make run was killed, .* end that with kill {orphan.pid}$"):
            demonstration.OnlyRun("make run", tmp_path / "lock")
        orphan.kill()
    with demonstration.OnlyRun("make run", tmp_path / "lock"):
        pass  # the last of them has ended


# --- all of it, as people start it


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_has_the_master_step_down_and_says_so(start: Start, clone: Path, asked: int) -> None:
    run = start("examples.three_instances", folder=clone)
    run.says("master of TICKER")
    second = start("examples.three_instances", folder=clone)
    second.says(f"make run is running already (pid {run.pid}): end it with Ctrl-C")
    assert second.wait() == 1
    run.signal(asked)
    run.says("stepped down from TICKER: SIGTERM")
    assert "Traceback" not in "\n".join(run.seen + run.rest())
    assert run.wait() == 0
    assert not (clone / ".run").exists()


def test_ctrl_c_at_the_start_ends_it_without_a_traceback(start: Start, clone: Path) -> None:
    run = start("examples.three_instances", folder=clone)
    run.says("Three controllers compete")
    run.signal(signal.SIGINT)
    assert "Traceback" not in "\n".join(run.rest())
    assert run.wait() == 0


def test_it_ends_by_itself(start: Start, clone: Path) -> None:
    run = start("examples.three_instances", "--for", "10ms", folder=clone)
    run.says("master of TICKER")
    run.says("stepped down from TICKER: SIGTERM")
    assert run.wait() == 0


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_set_up_that_was_interrupted_begins_anew(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements-dev.lock"):
        shutil.copy(EXAMPLES.parent / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    assert "-m venv --clear .venv" in _would_do(tmp_path)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    assert "venv --clear" not in _would_do(tmp_path)


def _would_do(folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "--dry-run", "install"], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout
