"""Every example runs, and does what its docstring says."""

import importlib
import json
import shutil
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import masterjob
from tests.examples.conftest import EXAMPLES, StartExample, get_page
from tests.servers.process import free_port
from tests.timeouts import WAIT_TIMEOUT


def test_the_scheduler_reports_on_one_instance_and_continues_in_another(start: StartExample, url: str) -> None:
    first = start("scheduler.py", "0.05")
    first.wait_for_line("report 2")
    second = start("scheduler.py", "0.05")
    first.send_signal(signal.SIGTERM)
    second.wait_for_line("report 2")
    assert [event.kind for event in masterjob.history("SCHEDULER", database=url)].count("evicted") == 0


def test_the_guarded_writer_writes_only_while_it_is_master(start: StartExample, url: str) -> None:
    writer = start("guarded_writer.py")
    line = writer.wait_for_line("written in term")
    (lock,) = masterjob.status("REPORT", database=url)
    assert line == f"written in term {lock.term}"
    masterjob.disable("REPORT", "that will do", database=url)
    writer.send_signal(signal.SIGTERM)
    assert writer.wait() == -signal.SIGTERM


@pytest.mark.parametrize("name", ["with_aiohttp.py", "with_fastapi.py", "with_django.py"])
def test_a_web_application_runs_the_job_beside_its_pages(start: StartExample, name: str) -> None:
    port = free_port()
    application = start(name, str(port))
    application.wait_for_line("tick in term")
    page = get_page(port)
    assert page["isMaster"] is True
    assert "master since term" in page["why"]
    application.send_signal(signal.SIGTERM)
    assert application.wait() in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("name", "line"),
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
    start: StartExample, url: str, name: str, line: str
) -> None:
    example = start(name, *([str(free_port())] if name.startswith("with_") else []))
    example.wait_for_line(line)
    example.send_signal(signal.SIGINT)
    assert "Traceback" not in "\n".join(example.remaining_lines())
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
def test_the_guarded_writer_accepts_every_url_that_the_library_accepts(
    monkeypatch: pytest.MonkeyPatch, url: str, written: str, understood: str
) -> None:
    monkeypatch.setenv("MASTERJOB_DATABASE_URL", url)
    found = importlib.import_module("examples.guarded_writer").with_driver(written)
    assert found.render_as_string(hide_password=False) == understood


def test_a_shell_command_runs_under_the_controllers_of_make_run(start: StartExample, url: str) -> None:
    paths = [str(EXAMPLES / "manifests"), "--config", str(EXAMPLES / "config.yaml")]
    controller = start("masterjob", "run", *paths, "--database", url)
    controller.wait_for_line("begins")
    masterjob.disable("TICKER", "that will do", database=url)
    controller.wait_for_line("has ended with signal SIGTERM")
    controller.wait_for_line("stepped down from TICKER: disabled by")
    controller.send_signal(signal.SIGTERM)
    assert controller.wait() == 0


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_job_in_another_language_is_started_and_stopped_over_http(
    start: StartExample, url: str, tmp_path: Path
) -> None:
    port = free_port()
    config = tmp_path / "config.yaml"
    config.write_text((EXAMPLES / "http_job" / "config.yaml").read_text().replace("8099", str(port)))
    server = start("http_job/server.mjs", str(port))
    server.wait_for_line("listening on")
    controller = start(
        "masterjob", "run", str(EXAMPLES / "http_job" / "job.yaml"), "--config", str(config), "--database", url
    )
    server.wait_for_line("NODE-TICKER: tick 1 in term")
    controller.send_signal(signal.SIGTERM)
    server.wait_for_line("NODE-TICKER: stopped in term")
    assert controller.wait() == 0


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_job_in_another_language_refuses_a_former_master(start: StartExample) -> None:
    port = free_port()
    server = start("http_job/server.mjs", str(port))
    server.wait_for_line("listening on")
    assert _post_hook(port, "start", 2) == (204, "")
    assert _post_hook(port, "start", 1) == (409, "term 1 is over: term 2 was seen\n")
    assert _post_hook(port, "stop", 1) == (409, "term 1 is over: term 2 was seen\n")
    server.wait_for_line("refused: term 1 is over: term 2 was seen")
    assert _post_hook(port, "start", 3) == (204, "")
    server.wait_for_line("NODE: stopped in term 2")
    server.wait_for_line("NODE: tick 1 in term 3")
    assert [_post_hook(port, "stop", 3), _post_hook(port, "stop", 3)] == [(204, ""), (204, "")]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_job_in_another_language_that_restarts_beside_its_controller_runs_again_in_the_same_term(
    start: StartExample, url: str, tmp_path: Path
) -> None:
    port = free_port()
    config, text = tmp_path / "config.yaml", (EXAMPLES / "http_job" / "config.yaml").read_text()
    config.write_text(text.replace("8099", str(port)).replace("interval: 1s", "interval: 100ms, failures: 100"))
    server = start("http_job/server.mjs", str(port))
    server.wait_for_line("listening on")
    start("masterjob", "run", str(EXAMPLES / "http_job" / "job.yaml"), "--config", str(config), "--database", url)
    term = server.wait_for_line("NODE-TICKER: tick 1 in term").split()[-1]
    server.kill()
    server = start("http_job/server.mjs", str(port))
    assert server.wait_for_line("NODE-TICKER: tick 1 in term").split()[-1] == term


def _post_hook(port: int, event: str, term: int) -> tuple[int, str]:
    body = json.dumps({"lockName": "NODE", "term": term, "event": event}).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{event}", body, timeout=WAIT_TIMEOUT) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
