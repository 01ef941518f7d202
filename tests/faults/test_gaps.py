"""How long an outage of the database was: job, history, report and metric say the same."""

import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

import masterjob
from masterjob.availability.gaps import Gap
from masterjob.lock_status import HistoryEvent
from tests.faults.fixtures import LOCK_NAME, FaultHarness, WorkerProcess
from tests.faults.proxy import NetworkMode
from tests.faults.test_scenarios import wait_for_first_write, wait_seconds
from tests.faults.worker import now
from tests.timeouts import WAIT_TIMEOUT

OUTAGE_AFTER_THE_STOP = 4.0
CLOCK_PRECISION = 0.05
"""Seconds by which the wall clock may be adjusted during a test."""


def history(harness: FaultHarness) -> list[HistoryEvent]:
    return masterjob.history(LOCK_NAME, database=harness.url)


def boot_time(at: datetime) -> float:
    """Return a time of the database, which runs on this machine, on the clock of the workers."""
    return at.timestamp() - (time.time() - now())


def wait_for_run(harness: FaultHarness, after: float) -> HistoryEvent:
    """Wait until the history has a run that began after this time."""

    def newest_run() -> HistoryEvent | None:
        runs = [event for event in history(harness) if event.kind == "running" and boot_time(event.at) > after]
        return runs[0] if runs else None

    harness.wait_for(lambda: newest_run() is not None, "a run in the history")
    run = newest_run()
    assert run is not None
    return run


def wait_for_heartbeat(harness: FaultHarness, after: float) -> None:
    """Wait until the master has sent a heartbeat later than this time."""

    def has_come() -> bool:
        (lock,) = masterjob.status(LOCK_NAME, database=harness.url)
        return lock.master is not None and now() - lock.master.heartbeat_age > after + CLOCK_PRECISION

    harness.wait_for(has_come, "a heartbeat")


def wait_for_unavailable_seconds(harness: FaultHarness, workers: list[WorkerProcess]) -> dict[str, float]:
    """Wait until an instance has counted a gap; return the seconds by their reason."""
    found: dict[str, float] = {}

    def scrape() -> bool:
        found.update(sample for worker in workers for sample in unavailable_seconds(harness.api_port(worker)))
        return bool(found)

    harness.wait_for(scrape, "a gap in the metrics")
    return found


def unavailable_seconds(port: int) -> Iterator[tuple[str, float]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT_TIMEOUT) as answer:
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        if family.name == "masterjob_job_unavailable_seconds":
            yield from ((sample.labels["reason"], sample.value) for sample in family.samples)


def test_an_outage_of_the_database_is_as_long_everywhere_as_it_was_for_the_job(harness: FaultHarness) -> None:
    workers = [harness.start_worker("--serve") for _ in range(2)]
    master = wait_for_first_write(harness)
    wait_for_run(harness, 0.0)
    outage_began_at = now()
    for worker in workers:
        harness.disturb_network(worker, NetworkMode.DROP)
    harness.wait_for_message("stop", master, outage_began_at)
    stop_seen_at = now()
    wait_seconds(harness, OUTAGE_AFTER_THE_STOP)
    outage_ended_at = now()
    for worker in workers:
        harness.restore_network(worker)
    run = wait_for_run(harness, outage_ended_at)
    run_seen_at = now()

    # The metric is counted when the history has settled: then nothing changes any more.
    metric = wait_for_unavailable_seconds(harness, workers)
    (gap,) = [gap for gap in report(harness) if boot_time(gap.end) > outage_ended_at]
    stopped = next(event for event in history(harness) if event.kind == "stopped")
    run = next(event for event in history(harness) if event.at == run.at)

    job_stopped_at = max(each.at for each in harness.event_log().events if each.what == "stop")
    job_started_at = max(each.at for each in harness.event_log().events if each.what == "start")
    assert job_stopped_at - CLOCK_PRECISION <= boot_time(stopped.at) < outage_ended_at
    assert job_started_at - CLOCK_PRECISION <= boot_time(run.at) <= run_seen_at + CLOCK_PRECISION
    assert outage_ended_at - stop_seen_at - CLOCK_PRECISION <= gap.length.total_seconds()
    assert (gap.start, gap.end, gap.cause, gap.is_open) == (stopped.at, run.at, "database_outage", False)
    assert (run.vacant_for, run.vacancy_cause) == (gap.length, "database_outage")
    assert metric == {"database_outage": pytest.approx(gap.length.total_seconds())}
    harness.assert_no_violations()


def test_a_killed_master_has_not_run_its_job_since_its_last_heartbeat(harness: FaultHarness) -> None:
    workers = [harness.start_worker("--serve") for _ in range(2)]
    killed = wait_for_first_write(harness)
    first_run = wait_for_run(harness, 0.0)
    wait_for_heartbeat(harness, boot_time(first_run.at))
    harness.kill(killed)
    killed_at = now()
    run = wait_for_run(harness, killed_at)
    metric = wait_for_unavailable_seconds(harness, [worker for worker in workers if worker is not killed])
    (gap,) = [gap for gap in report(harness) if gap.end == run.at]
    heartbeat = next(event for event in history(harness) if event.kind == "last heartbeat")
    assert gap.cause == "crash"
    assert gap.start == heartbeat.at > first_run.at
    assert boot_time(gap.start) < killed_at
    assert gap.length > timedelta(seconds=harness.guarantees.lease / 2)
    assert metric == {"crash": pytest.approx(gap.length.total_seconds())}
    harness.assert_no_violations()


def report(harness: FaultHarness) -> tuple[Gap, ...]:
    (result,) = masterjob.report(LOCK_NAME, timedelta(hours=1), database=harness.url)
    return result.gaps
