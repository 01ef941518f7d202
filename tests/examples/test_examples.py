"""Every example runs, and does what its first line says."""

import signal

import pytest

import masterjob
from tests.servers.process import free_port

from .conftest import Start, get


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
