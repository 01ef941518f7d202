"""Processes in which `start_master` must not compete: patched threads, and the watching parent of a reloader."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

import masterjob
from tests import environments
from tests.library.conftest import LibraryHarness, wait_until
from tests.servers.process import free_port
from tests.timeouts import WAIT_TIMEOUT

PATCHED_PROGRAM = """
import sys
exec(sys.argv[2])
from masterjob import MasterJob, start_master
try:
    master = start_master(
        lock_name="JOB", master_job=MasterJob(lambda: None), database=sys.argv[1], handle_signals=False
    )
except Exception as error:
    print(type(error).__name__, error, flush=True)
else:
    print("competes", flush=True)
    master.close()
"""


@pytest.mark.parametrize(
    ("package", "patch"),
    [
        ("gevent", "from gevent import monkey; monkey.patch_all()"),
        ("eventlet", "import eventlet; eventlet.monkey_patch()"),
    ],
)
def test_with_patched_threads_it_refuses_in_one_sentence(
    package: str, patch: str, sqlite_harness: LibraryHarness
) -> None:
    python = environments.python_with(package)
    process = environments.start(python, "-W", "ignore", "-c", PATCHED_PROGRAM, sqlite_harness.url, patch)
    output, _ = process.communicate(timeout=WAIT_TIMEOUT)
    assert output.startswith(f"SettingError {package} has replaced the threads of this process, "), output
    assert len(output.splitlines()) == 1


def test_with_gevent_that_keeps_the_threads_it_competes(sqlite_harness: LibraryHarness) -> None:
    python = environments.python_with("gevent")
    patch = "from gevent import monkey; monkey.patch_all(thread=False)"
    process = environments.start(python, "-W", "ignore", "-c", PATCHED_PROGRAM, sqlite_harness.url, patch)
    assert process.communicate(timeout=WAIT_TIMEOUT)[0] == "competes\n"


START_MASTER = '''
import os
from masterjob import MasterJob, start_master

def write_line(*words):
    """In one write: the server's thread writes to the same pipe."""
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def take_part():
    job = MasterJob(lambda: write_line("start", os.getpid(), CODE), lambda: write_line("stop", os.getpid()))
    url = os.environ["URL"]
    start_master(lock_name="JOB", master_job=job, database=url, init_delay="0s", lease_duration="10m")

CODE = "before"
'''
FLASK_APP = (
    START_MASTER
    + """
from flask import Flask
app = Flask("app")
take_part()
"""
)
FLASK_SCRIPT = (
    START_MASTER
    + """
from flask import Flask
app = Flask("app")
take_part()
if __name__ == "__main__":
    app.run(debug=True, port=int(os.environ["PORT"]))
"""
)
DJANGO_MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
DJANGO_SETTINGS = """
SECRET_KEY, DEBUG, ROOT_URLCONF, INSTALLED_APPS, USE_TZ = "x", True, "urls", ["shop"], True
"""
DJANGO_APP = (
    START_MASTER
    + """
from django.apps import AppConfig

class Shop(AppConfig):
    name = "shop"

    def ready(self):
        take_part()
"""
)


class StartServer(Protocol):
    def __call__(self, python: Path, *arguments: str) -> "subprocess.Popen[str]": ...


@pytest.fixture
def start_server(tmp_path: Path, sqlite_harness: LibraryHarness) -> Iterator[StartServer]:
    """Start a development server in a group of its own, so that no process of it is left over."""
    started: list[subprocess.Popen[str]] = []

    def start(python: Path, *arguments: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "URL": sqlite_harness.url, "PORT": str(free_port())}
        started.append(
            subprocess.Popen(
                [python, *arguments],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                process_group=0,
            )
        )
        return started[-1]

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_line(process: "subprocess.Popen[str]", beginning: str) -> str:
    assert process.stdout is not None
    lines = []
    while line := process.stdout.readline():
        lines.append(line)
        if line.startswith(beginning):
            return line.strip()
    raise AssertionError(f"{beginning!r} is missing in:\n{''.join(lines)}")


def check_that_the_child_runs_the_newest_code(process: "subprocess.Popen[str]", file: Path, url: str) -> None:
    _, first_pid, code = wait_for_line(process, "start").split()
    assert int(first_pid) != process.pid
    assert code == "before"
    with saved_every_second(file, file.read_text().replace('"before"', '"after"')):
        assert wait_for_line(process, "stop") == f"stop {first_pid}"
    _, second_pid, code = wait_for_line(process, "start").split()
    assert int(second_pid) not in (process.pid, int(first_pid))
    assert code == "after"
    # An event is written right after it happened.
    wait_until(lambda: read_elections(url)[-3:] == ["elected", "stepped down", "elected"])


@contextmanager
def saved_every_second(file: Path, text: str) -> Iterator[None]:
    """Save the file again and again: a reloader does not notice a change before its first look at the file."""
    is_noticed = threading.Event()

    def save() -> None:
        file.write_text(text)
        while not is_noticed.wait(1):
            file.touch()

    thread = threading.Thread(target=save)
    thread.start()
    try:
        yield
    finally:
        is_noticed.set()
        thread.join()


def read_elections(url: str) -> list[str]:
    """Return the events of the election alone; the events of the job are written on another thread."""
    kinds = [event.kind for event in masterjob.history("JOB", database=url)]
    return [kind for kind in kinds if kind in ("elected", "stepped down", "evicted")]


def test_flask_run_with_the_debugger_runs_the_job_in_the_process_that_serves(
    tmp_path: Path, start_server: StartServer, sqlite_harness: LibraryHarness
) -> None:
    python = environments.python_with("flask")
    (tmp_path / "app.py").write_text(FLASK_APP)
    process = start_server(python, "-m", "flask", "--app", "app", "run", "--debug", "--port", str(free_port()))
    check_that_the_child_runs_the_newest_code(process, tmp_path / "app.py", sqlite_harness.url)


def test_flask_run_without_the_reloader_runs_the_job(tmp_path: Path, start_server: StartServer) -> None:
    (tmp_path / "app.py").write_text(FLASK_APP)
    arguments = ("-m", "flask", "--app", "app", "run", "--debug", "--no-reload", "--port", str(free_port()))
    process = start_server(environments.python_with("flask"), *arguments)
    assert wait_for_line(process, "start") == f"start {process.pid} before"


def test_a_flask_script_whose_parent_competes_too_is_refused_with_a_hint(
    tmp_path: Path, start_server: StartServer
) -> None:
    (tmp_path / "app.py").write_text(FLASK_SCRIPT)
    process = start_server(environments.python_with("flask"), "app.py")
    line = wait_for_line(process, "masterjob.errors.SettingError: ")
    assert "the reloader's parent process competes for locks too" in line
    assert "WERKZEUG_RUN_MAIN" in line


def test_a_flask_script_may_start_it_in_the_process_that_serves(
    tmp_path: Path, start_server: StartServer, sqlite_harness: LibraryHarness
) -> None:
    guarded = FLASK_SCRIPT.replace(
        "\ntake_part()", '\nif os.environ.get("WERKZEUG_RUN_MAIN") == "true": take_part()'
    )
    (tmp_path / "app.py").write_text(guarded)
    process = start_server(environments.python_with("flask"), "app.py")
    check_that_the_child_runs_the_newest_code(process, tmp_path / "app.py", sqlite_harness.url)


def write_django_project(directory: Path) -> Path:
    (directory / "shop").mkdir()
    for name, text in {
        "manage.py": DJANGO_MANAGE,
        "settings.py": DJANGO_SETTINGS,
        "urls.py": "urlpatterns = []",
        "shop/__init__.py": "",
        "shop/apps.py": DJANGO_APP,
    }.items():
        (directory / name).write_text(text)
    return directory / "shop" / "apps.py"


def test_djangos_runserver_runs_the_job_in_the_process_that_serves(
    tmp_path: Path, start_server: StartServer, sqlite_harness: LibraryHarness
) -> None:
    apps = write_django_project(tmp_path)
    process = start_server(environments.python_with("django"), "manage.py", "runserver", str(free_port()))
    check_that_the_child_runs_the_newest_code(process, apps, sqlite_harness.url)


def test_djangos_runserver_without_the_reloader_runs_the_job(tmp_path: Path, start_server: StartServer) -> None:
    write_django_project(tmp_path)
    arguments = ("manage.py", "runserver", "--noreload", str(free_port()))
    process = start_server(environments.python_with("django"), *arguments)
    assert wait_for_line(process, "start") == f"start {process.pid} before"


def test_the_master_of_a_watching_process_says_why_it_does_not_compete(
    monkeypatch: pytest.MonkeyPatch, sqlite_harness: LibraryHarness
) -> None:
    monkeypatch.setattr("sys.argv", ["manage.py", "runserver"])
    monkeypatch.setitem(sys.modules, "django", pytest)
    master = masterjob.start_master(
        lock_name="JOB", master_job=masterjob.MasterJob(lambda: None), database=sqlite_harness.url
    )
    assert (master.is_master, master.term) == (False, None)
    assert (
        master.why
        == "this process only watches files for runserver; the process that serves competes for the lock"
    )
    master.step_down()
    master.close()
