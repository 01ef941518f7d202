"""The image, as far as it can be tested without Docker, and the process as a container runs it: as process 1."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest
import yaml

import masterjob
from tests.chart.helm import CHART, ROOT
from tests.timeouts import WAIT_TIMEOUT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_user_of_the_image_is_that_of_the_chart() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())["podSecurityContext"]
    assert f"\nUSER {values['runAsUser']}:{values['runAsGroup']}\n" in DOCKERFILE


def test_only_files_that_the_image_needs_are_sent_to_the_engine() -> None:
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for name in line.split()
    }
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sent == copied
    assert all((ROOT / name).exists() for name in sent)


def test_nothing_unlocked_is_installed() -> None:
    installs = re.findall(r"/pip .*?install .*", DOCKERFILE)
    assert len(installs) == 3
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)


def test_what_builds_the_wheel_is_what_the_project_names() -> None:
    assert re.match(r"hatchling==", (ROOT / "requirements-build.lock").read_text())


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="only root can create a PID namespace"
)
def test_as_process_1_a_sigterm_stops_the_job_and_releases_the_lock(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'masterjob.sqlite3'}"
    started, stopped = tmp_path / "ran", tmp_path / "stopped"
    job = f"trap 'touch {stopped}; exit 0' TERM; echo $$ > {started}; while :; do sleep 0.05; done"
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"jobs": {"REPORT": {"exec": {"command": ["sh", "-c", job]}}}}))
    manifest = tmp_path / "job.yaml"
    spec = {"lockName": "REPORT", "initDelay": "0s"}
    body = {
        "apiVersion": "masterjob.io/v1alpha1",
        "kind": "MasterJob",
        "metadata": {"name": "report"},
        "spec": spec,
    }
    manifest.write_text(yaml.safe_dump(body))
    command = [sys.executable, "-m", "masterjob", "run", str(manifest), "--config", str(config), "--database", url]
    namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    container = subprocess.Popen([*namespace, *command, "--no-api"], cwd=tmp_path)
    try:
        wait_for_file(started)
        (first,) = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
        assert (Path(f"/proc/{first}/status").read_text().split("NSpid:")[1].splitlines()[0].split())[-1] == "1"
        os.kill(int(first), signal.SIGTERM)
        assert container.wait(WAIT_TIMEOUT) == 0
    finally:
        container.kill()
        container.wait()
    assert stopped.exists()
    (lock,) = masterjob.status(database=url)
    assert lock.master is None


def wait_for_file(path: Path) -> None:
    sleep_event = Event()
    for _ in range(int(WAIT_TIMEOUT / 0.02)):
        if path.exists():
            return
        sleep_event.wait(0.02)
    raise AssertionError(f"{path} does not exist")
