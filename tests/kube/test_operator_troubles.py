"""MasterJobs that cannot be applied, and other users of their locks: each is reported, and disturbs no other."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.envtest.control_plane import ControlPlane
from tests.kube.operators import CONFIG, LONG_LEASE, SHORT_LEASE, Fleet, MasterJobHandle, fleet

SLOW_STOP = {**LONG_LEASE, "job": "slow", "stopTimeout": "100s", "leaseDuration": "200s"}
NO_JOBS = CONFIG.with_name("operators-without-jobs.yaml")


@pytest.fixture(scope="module")
def operators(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("operators")
    database = f"sqlite:///{folder / 'masterjob.sqlite3'}"
    with fleet(cluster, folder, database, namespace=cluster.new_namespace()) as created:
        created.start("pod-a", "pod-b", "pod-c")
        yield created


@pytest.fixture
def job(operators: Fleet) -> Iterator[MasterJobHandle]:
    job = operators.new_masterjob()
    yield job
    job.delete_if_exists()


@pytest.fixture
def empty_fleet(cluster: ControlPlane, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet without operators."""
    database = f"sqlite:///{tmp_path / 'masterjob.sqlite3'}"
    with fleet(cluster, tmp_path, database, namespace=cluster.new_namespace()) as created:
        yield created


def test_of_two_resources_with_one_lock_the_older_counts_and_the_newer_has_no_effect(job: MasterJobHandle) -> None:
    job.apply()
    job.wait("Ready True Running", "JobRunning True Running")
    job.wait_started(count=1)
    created = datetime.fromisoformat(job.versions[-1]["metadata"]["creationTimestamp"])
    job.fleet.wait(
        lambda: datetime.now(UTC) >= created + timedelta(seconds=1), "another second: ages are in seconds"
    )
    newer = job.fleet.new_masterjob(job.lock_name)
    newer.apply(enabled=False, disabledReason="mine now")
    newer.wait(
        "Ready False Conflict", "Elected False Conflict", "Enabled Unknown Conflict", "Stalled True Conflict"
    )
    newer.wait("JobRunning False NotElected")
    assert f"{job.namespace}/{job.name}" in newer.message("Ready")
    assert "master" not in newer.status
    job.wait("Ready True Running", "Enabled True Enabled", "JobRunning True Running")
    assert job.start_count == 1
    newer.wait_events("Conflict")
    assert newer.events()[0]["type"] == "Warning"

    job.delete()
    newer.wait("Ready True Disabled", "Enabled False DisabledBySpec", "Stalled absent")
    assert newer.status["disabled"]["reason"] == "mine now"
    newer.patch(enabled=True)
    newer.wait("Ready True Running", "JobRunning True Running")
    newer.wait_running_in(newer.master)
    newer.delete_if_exists()


def test_an_unknown_job_is_reported_until_it_is_replaced(job: MasterJobHandle) -> None:
    job.apply(job="unknown-job")
    job.wait("Ready False UnknownJob", "Stalled True UnknownJob", "Elected False Vacant", "Enabled True Enabled")
    job.wait("JobRunning False NotElected")
    job.wait_events("UnknownJob")
    assert "no job 'unknown-job' is known here (known: celery, journal" in job.message("Ready")
    job.patch(job="journal")
    job.wait("Ready True Running", "JobRunning True Running", "Stalled absent")
    job.wait_running_in(job.master)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing", "masterjob-has-no-such-program"), ("raising", "RuntimeError: the disk is full")],
)
def test_a_failed_start_is_reported_with_its_reason_and_retried_by_others(
    name: str, reason: str, job: MasterJobHandle
) -> None:
    job.apply(job=name)
    status = job.wait_past_status("Ready False StartFailed", "JobRunning False StartFailed")
    assert reason in next(each["message"] for each in status["conditions"] if each["type"] == "JobRunning")
    job.fleet.wait(lambda: job.event_reasons().count("StartFailed") >= 2, "two attempts")
    failed = [each for each in job.events() if each["reason"] == "StartFailed"]
    assert all(reason in each["note"] and each["type"] == "Warning" for each in failed)

    job.patch(enabled=False)
    job.wait("Ready True Disabled", "Elected False Disabled")
    job.fleet.wait(
        lambda: job.event_reasons().count("StartFailed") == job.history.count("start failed"), "one Event each"
    )
    job.patch(enabled=True, job="journal")
    job.wait("Ready True Running", "JobRunning True Running")


def test_a_slow_stop_is_reported_while_it_lasts(job: MasterJobHandle) -> None:
    job.apply(**SLOW_STOP)
    job.wait("Ready True Running", "JobRunning True Running")
    job.wait_started(count=1)
    job.patch(enabled=False, disabledReason="slowly")
    status = job.wait("Ready False Stopping", "Reconciling True Stopping", "JobRunning False Stopping")
    assert status["master"]["pod"] == job.master
    assert job.journal[-1].event == "start"
    job.allow_stop()
    job.wait("Ready True Disabled", "JobRunning False NotElected", "Reconciling absent")
    assert job.journal[-1].event == "stop"


def test_a_switch_of_a_manifest_file_is_reported_too(empty_fleet: Fleet) -> None:
    """A controller without a cluster, on the same database, is master; then its file disables the lock."""
    job = empty_fleet.new_masterjob()
    manifest = empty_fleet.folder / "manifest.yaml"
    base_manifest = {**job.body({"job": "journal", **LONG_LEASE}), "metadata": {"name": "file"}}

    def write(**spec: object) -> None:
        new_file = empty_fleet.folder / "new"
        new_file.write_text(yaml.safe_dump({**base_manifest, "spec": {**base_manifest["spec"], **spec}}))
        new_file.rename(manifest)

    write()
    other = empty_fleet.start_with_manifest("a-machine", manifest)
    job.wait_started(count=1)
    empty_fleet.start("pod-a", "pod-b")
    job.apply()
    job.wait("Ready True Running", "Elected True Elected", "JobRunning True Running")
    assert job.master == "a-machine"

    write(enabled=False, disabledReason="said in a file")
    job.wait("Ready True Disabled", "Enabled False DisabledElsewhere", "JobRunning False NotElected")
    assert job.status["disabled"]["source"] == "file:default/file"
    assert "said in a file" in job.message("Enabled")

    other.terminate()
    manifest.unlink()
    empty_fleet.run_cli("enable", job.lock_name, "--source", "file:default/file")
    job.wait("Ready True Running", "Enabled True Enabled", "JobRunning True Running")
    assert job.master.startswith("pod-")


def test_a_dead_master_that_no_pod_can_replace_is_reported_as_not_confirmed(empty_fleet: Fleet) -> None:
    empty_fleet.start("pod-a")
    empty_fleet.start("pod-b", config=NO_JOBS)
    job = empty_fleet.new_masterjob()
    job.apply(**SHORT_LEASE)
    job.wait("Ready True Running", "JobRunning True Running")
    job.wait_events("Elected")
    empty_fleet.pods["pod-a"].kill()
    empty_fleet.wait(
        lambda: empty_fleet.run_cli_json("status", job.lock_name)["state"] == "Vacant", "its lease to end"
    )
    job.patch(checkMasterInterval="2s")
    job.wait("Ready False UnknownJob", "Elected Unknown NotConfirmed", "JobRunning Unknown NotConfirmed")
    assert "pod-a is not confirmed since" in job.message("Elected")
    empty_fleet.start("pod-c")
    job.wait("Ready True Running", "JobRunning True Running")
    assert job.master == "pod-c"
    job.wait_events("Elected", "UnknownJob", "Evicted", "Elected")


def test_pods_that_know_other_jobs_do_not_overwrite_the_status_of_each_other(empty_fleet: Fleet) -> None:
    """As during an upgrade."""
    empty_fleet.start("pod-a")
    empty_fleet.start("pod-b", "pod-c", config=NO_JOBS)
    job = empty_fleet.new_masterjob()
    job.apply()
    job.wait("Ready True Running", "JobRunning True Running", "Stalled absent")
    job.patch(enabled=False)
    job.wait("Ready True Disabled", "Stalled absent")
    empty_fleet.wait_heartbeats(12)
    written = job.write_count()
    assert written <= 4
    empty_fleet.wait_heartbeats(12)
    assert job.write_count() == written
    job.patch(enabled=True)
    job.wait("Ready True Running", "JobRunning True Running", "Stalled absent")
    assert job.master == "pod-a"
