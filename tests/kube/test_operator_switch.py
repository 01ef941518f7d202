"""Changes to a MasterJob by kubectl and the command line; three operators serve the whole cluster."""

from collections.abc import Iterator

import pytest

from tests.envtest.control_plane import ControlPlane
from tests.kube.operators import LONG_LEASE, Fleet, MasterJobHandle, fleet, new_database
from tests.servers import Server
from tests.timeouts import WAIT_TIMEOUT


@pytest.fixture(scope="module")
def operators(
    cluster: ControlPlane, postgresql_or_none: Server | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("operators")
    with fleet(cluster, folder, new_database(postgresql_or_none, folder)) as created:
        created.start("pod-a", "pod-b", "pod-c", environment={"MASTER_JOB_HEARTBEAT_INTERVAL": "5s"})
        yield created


@pytest.fixture
def job(operators: Fleet) -> Iterator[MasterJobHandle]:
    job = operators.new_masterjob()
    yield job
    job.delete_if_exists()


def test_exactly_one_pod_becomes_master_and_kubectl_prints_and_awaits_it(job: MasterJobHandle) -> None:
    job.apply()
    for condition in ("Elected", "Ready", "JobRunning"):
        job.kubectl("wait", f"--for=condition={condition}", f"--timeout={WAIT_TIMEOUT:.0f}s")
    job.wait("Ready True Running", "Elected True Elected", "Enabled True Enabled", "JobRunning True Running")
    started = job.wait_started(count=1)
    job.wait_running_in(job.master)
    assert (started.term, started.pod) == (job.term, job.master)
    header, row = (line.split() for line in job.kubectl("get").splitlines())
    columns = dict(zip(header, row, strict=False))
    assert (columns["LOCK"], columns["ENABLED"], columns["STATE"]) == (job.lock_name, "true", "Running")
    assert columns["MASTER"] == job.master
    job.wait_history("elected")
    job.wait_events("Elected")


def test_a_disable_stops_the_job_and_its_message_names_the_way_to_enable_it(job: MasterJobHandle) -> None:
    job.apply()
    job.wait("Ready True Running", "JobRunning True Running")
    job.wait_started(count=1)
    first = job.term
    job.patch(enabled=False, disabledReason="the disk is full")
    job.kubectl(
        "wait", "--for=jsonpath={.status.disabled.reason}=the disk is full", f"--timeout={WAIT_TIMEOUT:.0f}s"
    )
    job.wait("Ready True Disabled", "Elected False Disabled", "Enabled False DisabledBySpec")
    job.wait("JobRunning False NotElected")
    assert job.journal[-1].event == "stop"
    assert "master" not in job.status
    assert "disabled by MasterJob" in job.message("Enabled")
    assert f"kubectl patch masterjob {job.name} -n {job.namespace}" in job.message("Enabled")
    assert "the disk is full" in job.kubectl("get")

    since = job.status["disabled"]["since"]
    job.patch(disabledReason="the disk is being replaced")
    job.wait("Ready True Disabled")
    assert job.status["disabled"]["reason"] == "the disk is being replaced"
    assert job.status["disabled"]["since"] == since

    job.patch(enabled=True)
    job.kubectl("wait", "--for=condition=Elected", f"--timeout={WAIT_TIMEOUT:.0f}s")
    job.wait("Ready True Running", "Enabled True Enabled", "JobRunning True Running")
    assert "disabled" not in job.status
    assert job.term > first
    assert job.status["transitions"] == 2
    job.wait_started(count=2)
    job.wait_running_in(job.master)
    job.wait_events("Elected", "SteppedDown", "Disabled", "Enabled", "Elected")


def test_other_intervals_are_applied_without_losing_the_mastership(job: MasterJobHandle) -> None:
    job.apply()
    before = dict(job.wait("Ready True Running"))
    job.wait_started(count=1)
    assert before["timing"]["leaseDuration"] == "1m"
    job.patch(heartbeatInterval="300ms", leaseDuration="50s", maxHeartbeatRetryCount=7)
    job.wait("Ready True Running")
    timing = {"heartbeatInterval": "300ms", "leaseDuration": "50s", "maxHeartbeatRetryCount": 7}
    job.fleet.wait(lambda: timing.items() <= job.status["timing"].items(), "the timing in effect")
    assert (job.status["observedGeneration"], job.term) == (2, before["term"])
    assert job.status["master"] == before["master"]
    assert (job.start_count, job.status["transitions"]) == (1, 1)
    job.wait_history("elected")


def test_a_disable_by_the_command_line_is_reported_and_kubectl_does_not_lift_it(job: MasterJobHandle) -> None:
    job.apply()
    job.wait("Ready True Running", "JobRunning True Running")
    job.wait_started(count=1)
    assert job.fleet.run_cli("disable", job.lock_name, "--reason", "moving", "--actor", "ann").exit_code == 0
    job.wait("Ready True Disabled", "Enabled False DisabledByAPI", "Elected False Disabled")
    assert job.status["disabled"].items() >= {"reason": "moving", "actor": "ann", "source": "api"}.items()
    assert f"masterjob enable {job.lock_name}" in job.message("Enabled")

    job.patch(enabled=False)
    job.wait("Ready True Disabled")
    job.patch(enabled=True)
    job.wait("Ready True Disabled", "Enabled False DisabledByAPI")
    assert job.start_count == 1

    assert job.fleet.run_cli("enable", job.lock_name).exit_code == 0
    job.wait("Ready True Running", "Enabled True Enabled", "JobRunning True Running")


def test_a_disable_until_some_time_ends_by_itself(job: MasterJobHandle) -> None:
    job.apply()
    job.wait("Ready True Running")
    arguments = ("disable", job.lock_name, "--reason", "a nap", "--until", "10s", "--actor", "ann")
    assert job.fleet.run_cli(*arguments).exit_code == 0
    status = job.wait_past_status("Ready True Disabled", "Enabled False DisabledByAPI")
    assert status["disabled"]["until"] > status["disabled"]["since"]
    job.wait("Ready True Running", "Enabled True Enabled")


def test_a_step_down_request_hands_over(job: MasterJobHandle) -> None:
    job.apply(heartbeatInterval="20s")  # so long the first master does not compete again
    first = job.wait("Ready True Running")["master"]["pod"]
    job.wait_started(count=1)
    assert job.fleet.run_cli("step-down", job.lock_name, "--reason", "a drain").exit_code == 0
    job.wait_started(count=2)
    job.fleet.wait(lambda: job.master not in ("", first), "another master")
    job.wait("Ready True Running", "JobRunning True Running")
    job.wait_running_in(job.master)
    assert job.status["transitions"] == 2
    job.wait_events("Elected", "SteppedDown", "Elected")
    assert "a drain" in next(each["note"] for each in job.events() if each["reason"] == "SteppedDown")


def test_a_job_stops_when_its_resource_is_deleted_and_runs_at_once_when_it_is_created_again(
    job: MasterJobHandle,
) -> None:
    job.apply()
    first = job.wait("Ready True Running")["term"]
    job.wait_started(count=1)
    job.delete()
    job.wait_stopped()
    job.fleet.wait(
        lambda: job.fleet.run_cli_json("status", job.lock_name)["state"] == "Vacant", "the lock to be free"
    )
    job.apply()
    job.wait("Ready True Running", "JobRunning True Running")
    job.wait_started(count=2)
    assert job.term > first
    assert job.status["transitions"] == 1  # it is a new object


def test_no_disable_outlives_its_resource(job: MasterJobHandle) -> None:
    job.apply(enabled=False, disabledReason="not yet")
    job.wait("Ready True Disabled", "Enabled False DisabledBySpec", "JobRunning False NotElected")
    assert job.journal == []
    job.delete()
    control = f"SELECT source FROM master_control WHERE lock_name = '{job.lock_name}'"
    job.fleet.wait(lambda: not job.fleet.query(control), "its switch to be gone")
    assert job.fleet.run_cli_json("status", job.lock_name)["enabled"]


def test_a_disabled_resource_that_is_created_again_enabled_runs_at_once(job: MasterJobHandle) -> None:
    job.apply(enabled=False, disabledReason="not yet")
    job.wait("Ready True Disabled")
    job.delete()
    job.apply()
    job.wait("Ready True Running", "Enabled True Enabled", "JobRunning True Running")


def test_two_field_managers_disturb_neither_each_other_nor_the_status(job: MasterJobHandle) -> None:
    job.apply(field_manager="deployer", **{**LONG_LEASE, "heartbeatInterval": "400ms"})
    first = job.wait("Ready True Running")["term"]
    job.apply_fields(field_manager="people", enabled=False, disabledReason="a holiday")
    job.wait("Ready True Disabled", "Enabled False DisabledBySpec")
    job.apply(field_manager="deployer", **{**LONG_LEASE, "heartbeatInterval": "300ms"})
    job.wait("Ready True Disabled")
    assert job.status["disabled"]["reason"] == "a holiday"
    job.apply_fields(field_manager="people", enabled=True)
    job.wait("Ready True Running")
    assert job.term > first
    assert job.status["timing"]["heartbeatInterval"] == "300ms"
    fields = job.versions[-1]["metadata"]["managedFields"]
    assert {each["manager"] for each in fields if each.get("subresource") == "status"} == {"masterjob"}


def test_a_timing_that_this_environment_does_not_allow_is_reported_and_the_last_valid_one_stays(
    job: MasterJobHandle,
) -> None:
    job.apply()
    first = job.wait("Ready True Running")["term"]
    job.patch(heartbeatInterval=None, leaseDuration="15s")  # the operators have five seconds in their environment
    job.wait("Ready False Invalid", "Stalled True Invalid", "Elected True Elected", "JobRunning True Running")
    assert "leaseDuration 15s is too short for heartbeatInterval 5s" in job.message("Ready")
    assert (job.term, job.status["timing"]["leaseDuration"]) == (first, "1m")
    job.wait_running_in(job.master)
    job.patch(leaseDuration="40s")
    job.wait("Ready True Running", "Stalled absent")
    job.fleet.wait(lambda: job.status["timing"]["heartbeatInterval"] == "5s", "the environment's heartbeat")
    assert job.term == first


def test_each_change_costs_two_writes_at_most_and_no_change_costs_none(job: MasterJobHandle) -> None:
    job.apply()
    job.wait("Ready True Running")
    job.patch(enabled=False, disabledReason="counting")
    job.wait("Ready True Disabled")
    job.patch(enabled=True)
    job.wait("Ready True Running")
    before = job.term
    assert job.fleet.run_cli("step-down", job.lock_name).exit_code == 0
    job.fleet.wait(lambda: job.term > before, "another term")
    job.wait("Ready True Running", "JobRunning True Running")
    job.fleet.wait_heartbeats(16)  # eight seconds: all operators have seen the last change
    written = job.write_count()
    changes = ("elected", "disabled", "enabled", "handed over")
    assert written <= 2 * len(changes)
    assert job.write_attempt_count() <= 3 * len(changes)
    job.fleet.wait_heartbeats(16)
    assert job.write_count() == written
