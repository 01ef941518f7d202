"""What cannot be done as a MasterJob says, and whoever else uses its lock: each is told, and disturbs nobody."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.envtest.control_plane import ControlPlane
from tests.kube.operators import CALM, CONFIG, QUICK, Fleet, Resource, fleet

SLOW_STOP = {**CALM, "job": "slow", "stopTimeout": "100s", "leaseDuration": "200s"}
NO_JOBS = CONFIG.with_name("operators-without-jobs.yaml")


@pytest.fixture(scope="module")
def operators(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("operators")
    database = f"sqlite:///{folder / 'masterjob.sqlite3'}"
    with fleet(cluster, folder, database, namespace=cluster.new_namespace()) as three:
        three.start("pod-a", "pod-b", "pod-c")
        yield three


@pytest.fixture
def job(operators: Fleet) -> Iterator[Resource]:
    job = operators.resource()
    yield job
    job.forget()


@pytest.fixture
def few(cluster: ControlPlane, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet that a test mans itself."""
    database = f"sqlite:///{tmp_path / 'masterjob.sqlite3'}"
    with fleet(cluster, tmp_path, database, namespace=cluster.new_namespace()) as few:
        yield few


def test_of_two_with_one_lock_the_older_counts_and_the_newer_switches_nothing(job: Resource) -> None:
    job.apply()
    job.wait("Ready True Elected", "JobRunning True Running")
    job.wait_run(starts=1)
    created = datetime.fromisoformat(job.versions[-1]["metadata"]["creationTimestamp"])
    job.fleet.wait(
        lambda: datetime.now(UTC) >= created + timedelta(seconds=1), "another second: ages are in seconds"
    )
    newer = job.fleet.resource(job.lock_name)
    newer.apply(enabled=False, disabledReason="mine now")
    newer.wait(
        "Ready False Conflict", "Elected False Conflict", "Enabled Unknown Conflict", "Stalled True Conflict"
    )
    newer.wait("JobRunning False NotElected")
    assert f"{job.namespace}/{job.name}" in newer.message("Ready")
    assert "master" not in newer.status
    job.wait("Ready True Elected", "Enabled True Enabled", "JobRunning True Running")
    assert job.starts == 1
    newer.wait_told("Conflict")

    job.delete()
    newer.wait("Ready True Disabled", "Enabled False DisabledBySpec", "Stalled absent")
    assert newer.status["disabled"]["reason"] == "mine now"
    newer.patch(enabled=True)
    newer.wait("Ready True Elected", "JobRunning True Running")
    newer.wait_runs_in(newer.master)
    newer.forget()


def test_a_job_that_no_pod_knows_is_told_until_it_is_another(job: Resource) -> None:
    job.apply(job="nobody-knows")
    job.wait("Ready False UnknownJob", "Stalled True UnknownJob", "Elected False Vacant", "Enabled True Enabled")
    job.wait("JobRunning False NotElected")
    assert "no job 'nobody-knows' is known here (known: journal" in job.message("Ready")
    job.patch(job="journal")
    job.wait("Ready True Elected", "JobRunning True Running", "Stalled absent")
    job.wait_runs_in(job.master)


@pytest.mark.parametrize(
    ("name", "why"), [("missing", "masterjob-has-no-such-program"), ("raising", "RuntimeError: the disk is full")]
)
def test_a_start_that_fails_is_told_with_its_reason_and_tried_by_others(
    name: str, why: str, job: Resource
) -> None:
    job.apply(job=name)
    status = job.wait_said("Ready False Vacant", "JobRunning False StartFailed", "Reconciling True Vacant")
    assert why in next(each["message"] for each in status["conditions"] if each["type"] == "JobRunning")
    job.fleet.wait(lambda: job.reasons().count("JobFailed") >= 2, "two attempts")
    failed = [each for each in job.events() if each["reason"] == "JobFailed"]
    assert all(why in each["note"] and each["type"] == "Warning" for each in failed)

    job.patch(enabled=False)
    job.wait("Ready True Disabled", "Elected False Disabled")
    job.fleet.wait(lambda: job.reasons().count("JobFailed") == job.history.count("start failed"), "one Event each")
    job.patch(enabled=True, job="journal")
    job.wait("Ready True Elected", "JobRunning True Running")


def test_a_slow_stop_is_told_while_it_lasts(job: Resource) -> None:
    job.apply(**SLOW_STOP)
    job.wait("Ready True Elected", "JobRunning True Running")
    job.wait_run(starts=1)
    job.patch(enabled=False, disabledReason="slowly")
    status = job.wait("Ready False Stopping", "Reconciling True Stopping", "JobRunning True Stopping")
    assert status["master"]["pod"] == job.master
    assert job.journal[-1].what == "start"
    job.let_stop()
    job.wait("Ready True Disabled", "JobRunning False NotElected", "Reconciling absent")
    assert job.journal[-1].what == "stop"


def test_what_a_file_says_of_the_lock_is_shown_too(few: Fleet) -> None:
    """A controller without a cluster, on the same database: it is master, and then its file disables the lock."""
    job = few.resource()
    manifest = few.folder / "manifest.yaml"
    said = {**job.body({"job": "journal", **CALM}), "metadata": {"name": "file"}}

    def write(**spec: object) -> None:
        new = few.folder / "new"
        new.write_text(yaml.safe_dump({**said, "spec": {**said["spec"], **spec}}))
        new.rename(manifest)

    write()
    other = few.run("a-machine", manifest)
    job.wait_run(starts=1)
    few.start("pod-a", "pod-b")
    job.apply()
    job.wait("Ready True Elected", "Elected True Elected", "JobRunning Unknown NotReported")
    assert job.master == "a-machine"

    write(enabled=False, disabledReason="said in a file")
    job.wait("Ready True Disabled", "Enabled False DisabledElsewhere", "JobRunning False NotElected")
    assert job.status["disabled"]["source"] == "file:default/file"
    assert "said in a file" in job.message("Enabled")

    other.terminate()
    manifest.unlink()
    few.masterjob("enable", job.lock_name, "--source", "file:default/file")
    job.wait("Ready True Elected", "Enabled True Enabled", "JobRunning True Running")
    assert job.master.startswith("pod-")


def test_a_dead_master_that_nobody_can_replace_is_called_silent(few: Fleet) -> None:
    few.start("pod-a")
    few.start("pod-b", config=NO_JOBS)
    job = few.resource()
    job.apply(**QUICK)
    job.wait("Ready True Elected", "JobRunning True Running")
    job.wait_told("Elected")
    few.pods["pod-a"].kill()
    few.wait(lambda: few.json("status", job.lock_name)["state"] == "Vacant", "its lease to end")
    job.patch(checkMasterInterval="2s")
    job.wait("Ready False UnknownJob", "Elected Unknown MasterSilent", "JobRunning Unknown NotReported")
    assert "pod-a is silent" in job.message("Elected")
    few.start("pod-c")
    job.wait("Ready True Elected", "JobRunning True Running")
    assert job.master == "pod-c"
    job.wait_told("Elected", "Evicted", "Elected")


def test_pods_that_know_other_jobs_do_not_quarrel_about_the_status(few: Fleet) -> None:
    """As in the middle of an upgrade."""
    few.start("pod-a")
    few.start("pod-b", "pod-c", config=NO_JOBS)
    job = few.resource()
    job.apply()
    job.wait("Ready True Elected", "JobRunning True Running", "Stalled absent")
    job.patch(enabled=False)
    job.wait("Ready True Disabled", "Stalled absent")
    few.wait_beats(12)
    written = job.writes()
    assert written <= 4
    few.wait_beats(12)
    assert job.writes() == written
    job.patch(enabled=True)
    job.wait("Ready True Elected", "JobRunning True Running", "Stalled absent")
    assert job.master == "pod-a"
