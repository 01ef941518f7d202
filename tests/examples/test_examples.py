"""Every example runs, and does what its first line says."""

import importlib
import json
import shutil
import signal
import urllib.error
import urllib.request
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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ticker.py", "master of TICKER"),
        ("scheduler.py", "report 1"),
        ("guarded_writer.py", "written in term"),
        ("with_aiohttp.py", "tick in term"),
        ("with_fastapi.py", "tick in term"),
        ("with_django.py", "tick in term"),
    ],
)
def test_ctrl_c_ends_an_example_without_a_traceback_and_frees_its_lock(
    start: Start, url: str, name: str, words: str
) -> None:
    example = start(name, *([str(free_port())] if name.startswith("with_") else []))
    example.says(words)
    example.signal(signal.SIGINT)
    assert "Traceback" not in "\n".join(example.rest())
    example.wait()
    assert [lock.master for lock in masterjob.status(database=url)] == [None]


@pytest.mark.parametrize(
    ("written", "understood"),
    [
        ("postgres://user:word@host/app", "postgresql+psycopg://user:word@host/app"),
        ("postgresql://user:word@host/app", "postgresql+psycopg://user:word@host/app"),
        ("mysql://user:word@host/app", "mysql+pymysql://user:word@host/app"),
        ("mariadb://user:word@host/app", "mysql+pymysql://user:word@host/app"),
        ("mysql+mysqldb://user:word@host/app", "mysql+mysqldb://user:word@host/app"),
        ("sqlite:////tmp/app.sqlite3", "sqlite:////tmp/app.sqlite3"),
    ],
)
def test_the_guarded_writer_takes_every_url_that_we_take(
    monkeypatch: pytest.MonkeyPatch, url: str, written: str, understood: str
) -> None:
    monkeypatch.setenv("MASTERJOB_DATABASE_URL", url)
    found = importlib.import_module("examples.guarded_writer").with_driver(written)
    assert found.render_as_string(hide_password=False) == understood


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


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_job_in_another_language_refuses_who_was_master_before(start: Start) -> None:
    port = free_port()
    server = start("http_job/server.mjs", str(port))
    server.says("listens on")
    assert _told(port, "start", 2) == (204, "")
    assert _told(port, "start", 1) == (409, "term 1 is over: term 2 was seen\n")
    assert _told(port, "stop", 1) == (409, "term 1 is over: term 2 was seen\n")
    server.says("refused: term 1 is over: term 2 was seen")
    assert _told(port, "start", 3) == (204, "")
    server.says("NODE: stopped in term 2")
    server.says("NODE: tick 1 in term 3")
    assert [_told(port, "stop", 3), _told(port, "stop", 3)] == [(204, ""), (204, "")]


def _told(port: int, event: str, term: int) -> tuple[int, str]:
    said = json.dumps({"lockName": "NODE", "term": term, "event": event}).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{event}", said, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
