"""Every example runs, and does what its first line says."""

import shutil
import signal
from pathlib import Path

import pytest

import masterjob
from tests.servers.process import free_port

from .conftest import EXAMPLES, Start, get


def test_the_scheduler_reports_on_one_instance_and_goes_on_in_another(start: Start, url: str) -> None:
    first = start("scheduler.py", "0.05")
    first.says("report 2")
    second = start("scheduler.py", "0.05")
    first.signal(signal.SIGTERM)
    second.says("report 2")
    assert [event.kind for event in masterjob.history("SCHEDULER", database=url)].count("evicted") == 0


def test_the_guarded_writer_writes_while_it_is_master_and_not_a_moment_longer(start: Start, url: str) -> None:
    writer = start("guarded_writer.py")
    line = writer.says("written in term")
    (lock,) = masterjob.status("REPORT", database=url)
    assert line == f"written in term {lock.term}"
    masterjob.disable("REPORT", "that will do", database=url)
    writer.signal(signal.SIGTERM)
    assert writer.wait() == -signal.SIGTERM


@pytest.mark.parametrize("name", ["with_aiohttp.py", "with_fastapi.py", "with_django.py"])
def test_a_web_application_runs_the_job_beside_its_pages(start: Start, name: str) -> None:
    port = free_port()
    application = start(name, str(port))
    application.says("tick in term")
    page = get(port)
    assert page["isMaster"] is True
    assert "master since term" in page["why"]
    application.signal(signal.SIGTERM)
    assert application.wait() in (0, -signal.SIGTERM)


def test_a_shell_command_runs_under_the_controllers_of_make_run(start: Start, url: str) -> None:
    paths = [str(EXAMPLES / "manifests"), "--config", str(EXAMPLES / "config.yaml")]
    controller = start("masterjob", "run", *paths, "--database", url)
    controller.says("begins")
    masterjob.disable("TICKER", "that will do", database=url)
    controller.says("has ended with signal SIGTERM")
    controller.says("stepped down from TICKER: disabled by")
    controller.signal(signal.SIGTERM)
    assert controller.wait() == 0


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_job_in_another_language_is_told_over_http(start: Start, url: str, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "config.yaml"
    config.write_text((EXAMPLES / "http_job" / "config.yaml").read_text().replace("8099", str(port)))
    server = start("http_job/server.mjs", str(port))
    server.says("listens on")
    controller = start(
        "masterjob", "run", str(EXAMPLES / "http_job" / "job.yaml"), "--config", str(config), "--database", url
    )
    server.says("NODE-TICKER: tick 1 in term")
    controller.signal(signal.SIGTERM)
    server.says("NODE-TICKER: stopped in term")
    assert controller.wait() == 0
