"""The errors of `start_master`."""

import threading
from pathlib import Path
from typing import Any

import pytest

from masterjob import Master, MasterJob, SettingError, TimingError, enable, start_master
from masterjob.runtime import handle
from masterjob.runtime.runtime import current_runtime
from tests.library.conftest import wait_until
from tests.timeouts import WAIT_TIMEOUT

JOB = MasterJob(start=print)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTERJOB_DATABASE_URL", "MASTERJOB_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"master_job": JOB}, "lock_name is not specified"),
        ({"lock_name": "", "master_job": JOB}, "lockName must be a non-empty string"),
        ({"lock_name": 7, "master_job": JOB}, "lockName must be a non-empty string"),
        ({"lock_name": "JOB"}, "master_job is not specified"),
        ({"lock_name": "JOB", "master_job": object()}, "start"),
        ({"lock_name": "JOB", "master_job": {"stop": print}}, "start"),
        ({"lock_name": "JOB", "master_job": {"start": 5}}, "start"),
        ({"lock_name": "JOB", "master_job": JOB, "database": None}, "no database is configured"),
        ({"lock_name": "JOB", "master_job": JOB, "heartbeat_interval": "soon"}, "heartbeat_interval"),
        ({"lock_name": "JOB", "master_job": JOB, "database": "oracle://h/d"}, "oracle"),
        ({"lock_name": "JOB", "master_job": JOB, "database": "sqlite://"}, "sqlite"),
        (
            {"lock_name": "JOB", "master_job": JOB, "lost_policy": "pray"},
            "argument lost_policy must be stop or exit",
        ),
    ],
)
def test_a_missing_or_bad_argument_is_refused_at_the_call(
    arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    arguments = {"database": f"sqlite:///{tmp_path}/db", **arguments}
    with pytest.raises(SettingError, match=message):
        start_master(**arguments)
    assert not current_runtime()._instances, "a refused call leaves nothing running"


def test_an_unsafe_timing_is_refused_with_a_lease_that_is_long_enough(tmp_path: Path) -> None:
    with pytest.raises(TimingError, match=r"use at least"):
        start_master(lock_name="JOB", master_job=JOB, database=f"sqlite:///{tmp_path}/db", lease_duration="9s")


def test_a_lock_that_was_started_already_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/db"
    first = start_master(lock_name="JOB", master_job=JOB, database=url, handle_signals=False)
    with pytest.raises(SettingError, match="already started"):
        start_master(lock_name="JOB", master_job=JOB, database=url, handle_signals=False)
    first.close()


def test_a_lock_can_be_started_again_after_it_was_closed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/db"
    for _ in range(2):
        start_master(lock_name="JOB", master_job=JOB, database=url, handle_signals=False).close()


def test_a_switch_needs_a_database_too() -> None:
    with pytest.raises(SettingError, match="no database is configured"):
        enable("JOB")


def test_a_handle_that_was_closed_does_not_close_a_newer_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/db"
    other = start_master(lock_name="OTHER", master_job=JOB, database=url, handle_signals=False)
    old = start_master(lock_name="JOB", master_job=JOB, database=url, handle_signals=False)
    old.close()
    new = start_master(lock_name="JOB", master_job=JOB, database=url, handle_signals=False)
    old.close()
    assert new.why != "not taking part"
    new.close()
    other.close()


def test_a_lock_whose_stop_outlasts_its_close_can_be_started_again_once_stop_has_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, may_stop = threading.Semaphore(0), threading.Event()

    def start() -> Master:
        return start_master(
            lock_name="JOB",
            master_job=MasterJob(start=started.release, stop=lambda: may_stop.wait(WAIT_TIMEOUT)),
            database=f"sqlite:///{tmp_path}/db",
            handle_signals=False,
            init_delay="0s",
            stop_timeout="10ms",
        )

    first = start()
    assert started.acquire(timeout=WAIT_TIMEOUT)
    with monkeypatch.context() as patch:
        patch.setattr(handle, "RELEASE_TIMEOUT", 0.0)
        first.close()
    with pytest.raises(SettingError, match="already started"):
        start()
    may_stop.set()
    wait_until(lambda: first.why == "not taking part")
    second = start()
    first.close()
    assert started.acquire(timeout=WAIT_TIMEOUT), "the first handle has not closed the second"
    second.close()
    assert not current_runtime()._instances
