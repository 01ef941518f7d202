"""Masters that die, and an API server that is down or hangs: the election goes on, and the status follows."""

import signal
from collections.abc import Iterator

import pytest

from masterjob.kube.status.conditions import ConditionType, find_condition
from tests.envtest.control_plane import ControlPlane
from tests.kube.operators import SHORT_LEASE, Fleet, MasterJobHandle, fleet, new_database
from tests.servers import Server

PODS = ("pod-a", "pod-b", "pod-c")


@pytest.fixture(scope="module")
def module_fleet(
    cluster: ControlPlane, postgresql_or_none: Server | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("operators")
    database = new_database(postgresql_or_none, folder)
    with fleet(cluster, folder, database, namespace=cluster.new_namespace()) as fleet_in_namespace:
        yield fleet_in_namespace


@pytest.fixture
def operators(module_fleet: Fleet) -> Fleet:
    """Three operators; those that died before are replaced, as by a deployment."""
    module_fleet.start(
        *(name for name in PODS if name not in module_fleet.pods or not module_fleet.pods[name].is_alive)
    )
    return module_fleet


@pytest.fixture
def job(operators: Fleet) -> Iterator[MasterJobHandle]:
    """A MasterJob with a master, and two more candidates."""
    job = operators.new_masterjob()
    job.apply(**SHORT_LEASE)
    job.wait("Ready True Running", "JobRunning True Running")
    job.wait_events("Elected")
    job.wait_started(count=1)
    operators.wait_watching()
    yield job
    job.delete_if_exists()


def test_a_master_that_is_killed_is_evicted_and_replaced_when_its_lease_has_expired(job: MasterJobHandle) -> None:
    first, term = job.master, job.term
    job.fleet.pods[first].kill()
    job.wait_started(count=2)
    job.fleet.wait(lambda: job.master not in ("", first), "another master")
    job.wait("Ready True Running", "JobRunning True Running")
    job.wait_running_in(job.master)
    assert job.term > term
    assert job.status["transitions"] == 2
    job.wait_events("Elected", "Evicted", "Elected")
    job.wait_history("elected", "evicted", "elected")
    assert first in next(each["note"] for each in job.events() if each["reason"] == "Evicted")


def test_a_killed_master_is_not_confirmed_long_before_its_lease_is_over(job: MasterJobHandle) -> None:
    job.patch(leaseDuration="60s")
    job.fleet.wait(lambda: job.status["timing"]["leaseDuration"] == "1m", "the lease in effect")
    first = job.status["master"]
    job.fleet.pods[job.master].kill()
    status = job.wait_past_status(
        "Ready Unknown NotConfirmed", "Elected Unknown NotConfirmed", "JobRunning Unknown NotConfirmed"
    )
    assert status["master"] == first
    ready = find_condition(status, ConditionType.READY)
    assert f"{first['pod']} is not confirmed since" in ready["message"]
    job.wait_events("Elected")  # it is not evicted yet


def test_a_master_that_gets_sigterm_hands_over_and_reports_it(job: MasterJobHandle) -> None:
    first = job.master
    job.fleet.pods[first].terminate()
    job.wait_started(count=2)
    job.fleet.wait(lambda: job.master not in ("", first), "another master")
    job.wait("Ready True Running", "JobRunning True Running")
    job.wait_running_in(job.master)
    job.wait_events("Elected", "SteppedDown", "Elected")
    job.wait_history("elected", "stepped down", "elected")


def test_the_last_operator_to_end_writes_a_status_without_a_master(job: MasterJobHandle) -> None:
    job.fleet.terminate_all()
    job.wait(
        "Ready False Vacant", "Elected False Vacant", "Reconciling True Vacant", "JobRunning False NotElected"
    )
    assert "master" not in job.status
    assert job.journal[-1].event == "stop"


def test_a_master_that_was_frozen_writes_nothing_over_the_status_of_its_successor(job: MasterJobHandle) -> None:
    first = job.master
    job.fleet.pods[first].send_signal(signal.SIGSTOP)
    job.wait_started(count=2)
    job.fleet.wait(lambda: job.master not in ("", first), "another master")
    job.wait("Ready True Running", "JobRunning True Running")
    second = job.master
    job.fleet.pods[first].send_signal(signal.SIGCONT)
    job.fleet.wait(lambda: first in job.fleet.candidate_pods(), f"{first} to take part again")
    job.fleet.wait_heartbeats(12)
    assert (job.master, job.start_count) == (second, 2)
    job.wait("Ready True Running", "JobRunning True Running")
    reasons = job.event_reasons()  # also those of the first master after it was resumed
    assert (reasons.count("Elected"), reasons.count("Evicted")) == (2, 1)


def test_without_the_api_server_a_dead_master_is_replaced_and_the_status_follows_once_it_is_back(
    job: MasterJobHandle,
) -> None:
    first = job.master
    with job.fleet.plane.api.outage():
        job.fleet.pods[first].kill()
        started = job.wait_started(count=2)
        assert job.fleet.run_cli_json("status", job.lock_name)["master"]["pod"] == started.pod
    job.fleet.wait(lambda: job.master == started.pod, "the status to name the master")
    job.wait("Ready True Running", "JobRunning True Running")
    job.wait_running_in(started.pod)
    assert job.term == started.term
    job.wait_history("elected", "evicted", "elected")


def test_a_frozen_api_server_does_not_end_a_term(job: MasterJobHandle) -> None:
    first = job.master
    with job.fleet.plane.api.frozen():
        job.fleet.wait_heartbeats(12)
        assert job.start_count == 1
        job.wait_history("elected")
        job.fleet.pods[first].kill()
        started = job.wait_started(count=2)
    job.fleet.wait(lambda: job.master == started.pod, "the status to name the master")
    job.wait("Ready True Running", "JobRunning True Running")
    job.wait_history("elected", "evicted", "elected")


def test_a_disable_by_the_command_line_needs_no_api_server(job: MasterJobHandle) -> None:
    with job.fleet.plane.api.outage():
        assert job.fleet.run_cli("disable", job.lock_name, "--reason", "no API", "--actor", "ann").exit_code == 0
        job.wait_stopped()
    job.wait("Ready True Disabled", "Enabled False DisabledByAPI", "JobRunning False NotElected")
    assert job.status["disabled"]["reason"] == "no API"
    assert job.fleet.run_cli("enable", job.lock_name).exit_code == 0
    job.wait("Ready True Running")


def test_the_end_of_an_operator_does_not_wait_for_the_api_server(job: MasterJobHandle) -> None:
    first = job.master
    with job.fleet.plane.api.frozen():
        job.fleet.pods[first].terminate()
        started = job.wait_started(count=2)
    job.fleet.wait(lambda: job.master == started.pod, "the status to name the master")
    job.wait_history("elected", "stepped down", "elected")


def test_operators_that_start_without_an_api_server_take_part_once_it_is_there(job: MasterJobHandle) -> None:
    job.fleet.terminate_all()
    with job.fleet.plane.api.outage():
        restarted = job.fleet.start(*PODS)
        job.fleet.wait(
            lambda: all(pod.has_logged("cannot be listed at the moment") for pod in restarted), "them to say so"
        )
    job.wait_started(count=2)
    job.wait("Ready True Running", "JobRunning True Running")
    job.wait_running_in(job.master)
