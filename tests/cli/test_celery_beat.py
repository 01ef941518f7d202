"""A real Celery scheduler that is terminated beside a living controller runs again, and everybody is told so."""

import json
import os
import re
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import masterjob
from tests.cli.conftest import RunProcess, Terminal, manifest
from tests.kube.celery_beat import APPLICATION, install_celery
from tests.library.conftest import wait_until
from tests.servers import Unavailable
from tests.timeouts import WAIT_TIMEOUT


@pytest.fixture
def celery() -> str:
    try:
        return str(install_celery())
    except Unavailable as error:
        pytest.skip(str(error))


def test_a_celery_beat_that_is_terminated_runs_again_in_place(
    terminal: Terminal, run: Callable[..., RunProcess], celery: str
) -> None:
    (terminal.folder / "beat_app.py").write_text(APPLICATION)
    pid_file = terminal.folder / "beat.pid"
    command = [celery, "-A", "beat_app", "beat", "--loglevel", "info", "--pidfile", str(pid_file)]
    job = {"exec": {"command": command, "directory": str(terminal.folder), "startSeconds": 1}}
    settings = {"database": terminal.url, "initDelay": "0s"}
    (terminal.folder / "config.yaml").write_text(
        json.dumps({"masterJobExecutor": settings, "jobs": {"beep": job}})
    )
    terminal.write("beep.yaml", manifest())
    controller = run("--port", "0")
    controller.wait_for_line("beat: Starting...")  # from then on it handles SIGTERM
    terminal.wait_for("Running")
    (before,) = terminal.run_json("list")
    first = _read_pid(pid_file)

    assert first is not None
    os.kill(first, signal.SIGTERM)
    controller.wait_for_line("the command ended with exit code 0 after")
    controller.wait_for_line("it is started again in 1 s")
    wait_until(lambda: _read_pid(pid_file) not in (None, first))
    wait_until(lambda: _read_restarts(terminal) == 1 and terminal.state() == "Running")

    status = terminal.run_json("status", "BEEP")
    job_fields = {
        "phase": "Running",
        "restarts": 1,
        "exitCode": 0,
        "consecutiveFailures": 0,
        "term": before["term"],
    }
    for surface in (terminal.run_json("list")[0], status, _fetch_lock(controller)):
        assert (surface["state"], surface["term"]) == ("Running", before["term"])
        assert job_fields.items() <= surface["job"].items()
    for text in (terminal.run("list"), terminal.run("status", "BEEP")):
        assert "Running" in text.stdout
    (lock,) = masterjob.status("BEEP", database=terminal.url)
    assert lock.job is not None
    assert (lock.state, lock.job.restarts, lock.term) == ("Running", 1, before["term"])
    kinds = [event["kind"] for event in terminal.run_json("history", "BEEP")]
    assert sorted(kinds) == ["elected", "restarting", "running", "running"]


def _read_pid(file: Path) -> int | None:
    """Return the process that the scheduler has written, or None if it has not (yet)."""
    return int(text) if file.exists() and (text := file.read_text().strip()) else None


def _read_restarts(terminal: Terminal) -> int:
    return int(terminal.run_json("status", "BEEP")["job"]["restarts"])


def _fetch_lock(controller: RunProcess) -> Any:
    matched = re.search(r"listens on (http://\S+:\d+)", controller.wait_for_line("the control API listens"))
    assert matched is not None
    with urllib.request.urlopen(f"{matched[1]}/api/MasterLocks/BEEP", timeout=WAIT_TIMEOUT) as response:
        return json.load(response)
