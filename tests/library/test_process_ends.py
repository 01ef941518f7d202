"""The orderly end comes however a Python process ends: its job stops and its lock is free before it is gone."""

import atexit
import multiprocessing.util
import signal
import subprocess
from pathlib import Path

import pytest

import masterjob
from masterjob.runtime import process_exit
from tests import environments
from tests.library.conftest import LibraryHarness
from tests.timeouts import WAIT_TIMEOUT

CHILD_PROGRAM = """
import sys, threading
from masterjob import MasterJob, start_master

started = threading.Event()

def start():
    print("start", flush=True)
    started.set()

def child(url):
    job = MasterJob(start, lambda: print("stop", flush=True))
    start_master(lock_name="JOB", master_job=job, database=url, init_delay="0s", lease_duration="10m")
    started.wait()

if __name__ == "__main__":
    import importlib
    processes = importlib.import_module(sys.argv[2])
    context = processes.get_context(sys.argv[3])
    process = context.Process(target=child, args=(sys.argv[1],))
    process.start()
    process.join()
    print("ended with", process.exitcode, flush=True)
"""


def history_kinds(harness: LibraryHarness) -> list[str]:
    return [event.kind for event in masterjob.history("JOB", database=harness.url)]


def check_orderly_end(process: "subprocess.Popen[str]", harness: LibraryHarness) -> None:
    output, _ = process.communicate(timeout=WAIT_TIMEOUT)
    lines = [line for line in output.splitlines() if line.split()[0] in ("start", "stop", "ended")]
    assert lines == ["start", "stop", "ended with 0"], output
    assert sorted(history_kinds(harness)) == ["elected", "running", "stepped down", "stopped"]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_a_child_of_multiprocessing_that_returns(
    version: str, method: str, sqlite_harness: LibraryHarness, tmp_path: Path
) -> None:
    """A program in a file, since forkserver and spawn import it again."""
    python = environments.python_of_version(version)
    program = tmp_path / "program.py"
    program.write_text(CHILD_PROGRAM)
    process = environments.start(python, str(program), sqlite_harness.url, "multiprocessing", method)
    check_orderly_end(process, sqlite_harness)


def test_a_child_of_billiard_that_returns(sqlite_harness: LibraryHarness, tmp_path: Path) -> None:
    python = environments.python_with("celery")
    program = tmp_path / "program.py"
    program.write_text(CHILD_PROGRAM)
    check_orderly_end(
        environments.start(python, str(program), sqlite_harness.url, "billiard", "fork"), sqlite_harness
    )


CELERY_APP = """
import os
from celery import Celery
from celery.signals import worker_process_init
from masterjob import MasterJob, start_master

app = Celery("app", broker="memory://")
app.conf.worker_redirect_stdouts = False

@worker_process_init.connect
def take_part(**_):
    job = MasterJob(lambda: print("start", flush=True), lambda: print("stop", flush=True))
    start_master(
        lock_name="JOB",
        master_job=job,
        database=os.environ["URL"],
        init_delay="0s",
        lease_duration="10m",
    )
"""


def test_a_worker_of_celery_that_is_shut_down(sqlite_harness: LibraryHarness, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(CELERY_APP)
    arguments = [
        "-m",
        "celery",
        "-A",
        "app",
        "worker",
        "--pool",
        "prefork",
        "--concurrency",
        "1",
        "--without-mingle",
    ]
    process = environments.start(
        environments.python_with("celery"), *arguments, cwd=tmp_path, URL=sqlite_harness.url, C_FORCE_ROOT="1"
    )
    try:
        assert process.stdout is not None
        while (line := process.stdout.readline()).strip() != "start":
            assert line, "the worker has ended"
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=WAIT_TIMEOUT)
    finally:
        process.kill()
        process.wait()
    assert "stop" in output.splitlines()
    assert history_kinds(sqlite_harness) == ["stepped down", "stopped", "running", "elected"]


def test_the_callback_is_registered_once_in_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[object] = []
    monkeypatch.setattr(atexit, "register", registered.append)
    monkeypatch.setattr(
        multiprocessing.util, "Finalize", lambda _, callback, exitpriority: registered.append(callback)
    )
    process_end = process_exit.ProcessExit(print)
    process_end.register()
    process_end.register()
    assert registered == [print, print]
