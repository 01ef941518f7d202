"""A switch that this process writes reaches its own elector at once, without the database's notification."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import masterjob
from tests.library.conftest import wait_until
from tests.web.conftest import DISABLE_PATH, ENABLE_PATH, ApiClient

pytestmark = pytest.mark.usefixtures("silent_notifier")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'masterjob.sqlite3'}"


@pytest.fixture
def master(url: str) -> Iterator[masterjob.Master]:
    """A master whose next heartbeat comes long after the test."""
    master = masterjob.start_master(
        lock_name="JOB",
        master_job=masterjob.MasterJob(lambda: None),
        database=url,
        init_delay=0,
        heartbeat_interval="60s",
        handle_signals=False,
    )
    wait_until(lambda: master.is_master)
    yield master
    master.close()


def check_switches(
    master: masterjob.Master,
    disable: Callable[[], object],
    enable: Callable[[], object],
    step_down: Callable[[], object],
) -> None:
    disable()
    wait_until(lambda: not master.is_master)
    enable()
    wait_until(lambda: master.is_master)
    step_down()
    wait_until(lambda: not master.is_master)


@pytest.mark.parametrize("names_database", [True, False])
def test_a_switch_of_the_library(master: masterjob.Master, url: str, *, names_database: bool) -> None:
    database = url if names_database else None
    check_switches(
        master,
        lambda: masterjob.disable("JOB", "testing", database=database),
        lambda: masterjob.enable("JOB", database=database),
        lambda: masterjob.step_down("JOB", "testing", database=database),
    )


def test_a_switch_of_the_control_api(master: masterjob.Master, url: str) -> None:
    api = masterjob.start_api(port=0, database=url)
    try:
        assert api.wait_for_bind_attempt()
        client = ApiClient(api.port or 0)
        check_switches(
            master,
            lambda: client.post_form(DISABLE_PATH, lockName="JOB", reason="testing"),
            lambda: client.post_form(ENABLE_PATH, lockName="JOB"),
            lambda: client.post_form("/api/MasterLocks/JOB/step-down", reason="testing"),
        )
    finally:
        api.close()
