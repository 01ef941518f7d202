"""What users see of a job that fails, completes, ends or loses its database, on real operators."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from masterjob.kube.status.conditions import ConditionType, find_condition
from tests.envtest.control_plane import ControlPlane
from tests.faults.proxy import NetworkMode, Proxy
from tests.kube.celery_beat import APPLICATION, install_celery
from tests.kube.operators import SHORT_LEASE, Fleet, MasterJobHandle, fleet
from tests.servers import Server, Unavailable
from tests.timeouts import WAIT_TIMEOUT


@pytest.fixture(scope="module")
def operators(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("operators")
    database = f"sqlite:///{folder / 'masterjob.sqlite3'}"
    with fleet(cluster, folder, database, namespace=cluster.new_namespace()) as created:
        created.start("pod-a", "pod-b")
        yield created


@pytest.fixture
def job(operators: Fleet) -> Iterator[MasterJobHandle]:
    job = operators.new_masterjob()
    yield job
    job.delete_if_exists()


def was_ready(job: MasterJobHandle) -> bool:
    conditions = [find_condition(each.get("status", {}), ConditionType.READY) for each in job.versions]
    return any(each.get("status") == "True" for each in conditions)


def kubectl_wait(job: MasterJobHandle, condition: str) -> None:
    job.kubectl("wait", f"--for=condition={condition}", f"--timeout={WAIT_TIMEOUT:.0f}s")


def test_a_new_resource_costs_two_writes_and_is_ready_once_its_job_has_lived_for_its_start_time(
    job: MasterJobHandle,
) -> None:
    job.apply(job="patient")
    kubectl_wait(job, "Ready")
    job.wait("Ready True Running", "Elected True Elected", "JobRunning True Running", "Reconciling absent")
    starting = job.wait_past_status(
        "Ready False Starting", "JobRunning False Starting", "Reconciling True Starting"
    )
    assert (starting["master"], starting["job"]["phase"]) == (job.status["master"], "Starting")
    assert job.status["job"].items() >= {"name": "patient", "phase": "Running", "restarts": 0}.items()
    header, row = (line.split() for line in job.kubectl("get", "-o", "wide").splitlines())
    assert {"JOB", "NODE", "RESTARTS"} <= set(header)
    assert {"Running", "patient", "node-1"} <= set(row)
    job.fleet.wait_heartbeats(12)  # all operators have looked
    assert job.write_count() == 2


def test_a_command_that_always_fails_is_never_ready_and_stalls_until_it_is_fixed(job: MasterJobHandle) -> None:
    job.apply(job="seven", heartbeatInterval="5s")  # so long an instance pauses after its first failure
    job.wait_past_status("Ready False StartFailed", "JobRunning False StartFailed", "Reconciling True StartFailed")
    job.wait("Ready False StartFailed", "Stalled True StartFailed", "Reconciling absent")
    assert "exit code 7" in job.message("Ready")
    assert job.status["job"]["consecutiveFailures"] >= 3
    assert job.status["job"]["exitCode"] == 7
    kubectl_wait(job, "Stalled")
    in_namespace = (f"mj/{job.name}", "--namespace", job.namespace)
    job.fleet.plane.kubectl("wait", *in_namespace, "--for=condition=Ready", "--timeout=3s", expect_failure=True)
    assert not was_ready(job)
    assert "StartFailed" in job.kubectl("get")
    job.fleet.wait(lambda: {"StartFailed", "Stalled"} <= set(job.event_reasons()), "its Events")

    (job.fleet.folder / f"{job.lock_name}.fixed").touch()
    kubectl_wait(job, "Ready")
    job.wait("Ready True Running", "JobRunning True Running", "Stalled absent")
    assert job.status["job"]["consecutiveFailures"] == 0
    assert "lastError" not in job.status["job"]


def test_a_job_that_must_run_once_is_completed_until_it_is_enabled_again(job: MasterJobHandle) -> None:
    job.apply(job="nightly")
    kubectl_wait(job, "Ready")
    job.wait(
        "Ready True Completed", "Enabled False Completed", "Elected False Disabled", "JobRunning False Completed"
    )
    assert "Completed" in job.kubectl("get")
    job.wait_events("Elected", "Completed", "SteppedDown")
    first = job.term
    assert job.fleet.run_cli("enable", job.lock_name).exit_code == 0
    job.fleet.wait(lambda: job.term > first, "another term")
    job.wait("Ready True Completed", "Enabled False Completed")


def test_a_real_celery_beat_that_is_terminated_runs_again(job: MasterJobHandle) -> None:
    try:
        celery = install_celery()
    except Unavailable as error:
        pytest.skip(str(error))
    (job.fleet.folder / "beat_app.py").write_text(APPLICATION)
    pid_file = job.fleet.folder / "beat.pid"
    job.fleet.start("pod-celery", environment={"CELERY": str(celery)})
    job.fleet.terminate("pod-a", "pod-b")
    job.apply(job="celery")
    job.wait("Ready True Running", "JobRunning True Running")
    term, first = job.term, int(pid_file.read_text())
    os.kill(first, signal.SIGTERM)
    job.wait_past_status("Ready False Starting", "JobRunning False Starting")
    job.fleet.wait(lambda: job.status["job"]["restarts"] == 1, "its restart")
    job.wait("Ready True Running", "JobRunning True Running")
    assert int(pid_file.read_text()) != first
    assert job.term == term, "the lock was kept"


def test_a_pod_that_alone_loses_its_database_makes_nothing_unavailable(
    cluster: ControlPlane, postgresql: Server, tmp_path: Path
) -> None:
    url, proxy = postgresql.create_database(), Proxy(postgresql.port)
    through_proxy = url.replace(f":{postgresql.port}/", f":{proxy.port}/")
    assert through_proxy != url
    with fleet(cluster, tmp_path, url, namespace=cluster.new_namespace()) as operators:
        operators.start("pod-a", environment={"MASTERJOB_DATABASE_URL": through_proxy})
        job = operators.new_masterjob()
        job.apply(**SHORT_LEASE)
        job.wait("Ready True Running")
        assert job.master == "pod-a"
        operators.start("pod-b")
        operators.wait(lambda: "pod-b" in operators.candidate_pods(), "the other pod to be a candidate")
        proxy.set_mode(NetworkMode.DROP)
        operators.wait(lambda: job.master == "pod-b", "the other pod to be master")
        job.wait("Ready True Running", "JobRunning True Running")
        operators.wait_heartbeats(40)  # longer than an instance waits before it reports an outage
        reasons = {find_condition(each["status"], ConditionType.READY).get("reason") for each in job.versions}
        assert "DatabaseUnavailable" not in reasons
        proxy.set_mode(NetworkMode.CLEAR)
        job.delete()
    proxy.close()
