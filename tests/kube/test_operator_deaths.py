"""Masters that die, and an API server that is gone or silent: the election goes on, and the status follows."""

import signal
from collections.abc import Iterator

import pytest

from tests.envtest.control_plane import ControlPlane
from tests.kube.operators import QUICK, Fleet, Resource, fleet, new_database
from tests.servers import Server

PODS = ("pod-a", "pod-b", "pod-c")


@pytest.fixture(scope="module")
def three(
    cluster: ControlPlane, postgresql_or_none: Server | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("operators")
    database = new_database(postgresql_or_none, folder)
    with fleet(cluster, folder, database, namespace=cluster.new_namespace()) as three:
        yield three


@pytest.fixture
def operators(three: Fleet) -> Fleet:
    """Three of them; who died before is replaced, as a deployment would."""
    three.start(*(name for name in PODS if name not in three.pods or not three.pods[name].alive))
    return three


@pytest.fixture
def job(operators: Fleet) -> Iterator[Resource]:
    """One with a master, while two others wait."""
    job = operators.resource()
    job.apply(**QUICK)
    job.wait("Ready True Elected", "JobRunning True Running")
    job.wait_told("Elected")
    job.wait_run(starts=1)
    operators.wait_followed()
    yield job
    job.forget()


def test_a_master_that_is_killed_is_evicted_and_replaced_when_its_lease_is_over(job: Resource) -> None:
    first, term = job.master, job.term
    job.fleet.pods[first].kill()
    job.wait_run(starts=2)
    job.fleet.wait(lambda: job.master not in ("", first), "another master")
    job.wait("Ready True Elected", "JobRunning True Running")
    job.wait_runs_in(job.master)
    assert job.term > term
    assert job.status["transitions"] == 2
    job.wait_told("Elected", "Evicted", "Elected")
    job.wait_happened("elected", "evicted", "elected")
    assert first in next(each["note"] for each in job.events() if each["reason"] == "Evicted")


def test_a_master_that_is_asked_to_end_hands_over_and_says_so(job: Resource) -> None:
    first = job.master
    job.fleet.pods[first].terminate()
    job.wait_run(starts=2)
    job.fleet.wait(lambda: job.master not in ("", first), "another master")
    job.wait("Ready True Elected", "JobRunning True Running")
    job.wait_runs_in(job.master)
    job.wait_told("Elected", "SteppedDown", "Elected")
    job.wait_happened("elected", "stepped down", "elected")


def test_the_last_one_to_end_leaves_a_status_that_says_that_nobody_is_master(job: Resource) -> None:
    job.fleet.end()
    job.wait(
        "Ready False Vacant", "Elected False Vacant", "Reconciling True Vacant", "JobRunning False NotElected"
    )
    assert "master" not in job.status
    assert job.journal[-1].what == "stop"


def test_a_master_that_was_frozen_writes_nothing_over_the_status_of_its_successor(job: Resource) -> None:
    first = job.master
    job.fleet.pods[first].send(signal.SIGSTOP)
    job.wait_run(starts=2)
    job.fleet.wait(lambda: job.master not in ("", first), "another master")
    job.wait("Ready True Elected", "JobRunning True Running")
    second = job.master
    job.fleet.pods[first].send(signal.SIGCONT)
    job.fleet.wait(lambda: first in job.fleet.candidates(), f"{first} to take part again")
    job.fleet.wait_beats(12)
    assert (job.master, job.starts) == (second, 2)
    job.wait("Ready True Elected", "JobRunning True Running")
    told = job.reasons()  # and what the first one did when it woke up
    assert (told.count("Elected"), told.count("Evicted")) == (2, 1)


def test_without_the_api_server_a_dead_master_is_replaced_and_the_status_says_so_once_it_is_back(
    job: Resource,
) -> None:
    first = job.master
    with job.fleet.plane.api.gone():
        job.fleet.pods[first].kill()
        ran = job.wait_run(starts=2)
        assert job.fleet.json("status", job.lock_name)["state"] == "Elected"
    job.fleet.wait(lambda: job.master == ran.pod, "the status to name the master")
    job.wait("Ready True Elected", "JobRunning True Running")
    job.wait_runs_in(ran.pod)
    assert job.term == ran.term
    job.wait_happened("elected", "evicted", "elected")


def test_a_frozen_api_server_costs_nobody_the_mastership(job: Resource) -> None:
    first = job.master
    with job.fleet.plane.api.frozen():
        job.fleet.wait_beats(12)
        assert job.starts == 1
        job.wait_happened("elected")
        job.fleet.pods[first].kill()
        ran = job.wait_run(starts=2)
    job.fleet.wait(lambda: job.master == ran.pod, "the status to name the master")
    job.wait("Ready True Elected", "JobRunning True Running")
    job.wait_happened("elected", "evicted", "elected")


def test_a_disable_by_the_command_line_needs_no_api_server(job: Resource) -> None:
    with job.fleet.plane.api.gone():
        assert job.fleet.masterjob("disable", job.lock_name, "--reason", "no API", "--actor", "ann").exit_code == 0
        job.wait_stopped()
    job.wait("Ready True Disabled", "Enabled False DisabledByAPI", "JobRunning False NotElected")
    assert job.status["disabled"]["reason"] == "no API"
    assert job.fleet.masterjob("enable", job.lock_name).exit_code == 0
    job.wait("Ready True Elected")


def test_the_end_of_an_operator_waits_for_no_api_server(job: Resource) -> None:
    first = job.master
    with job.fleet.plane.api.frozen():
        job.fleet.pods[first].terminate()
        ran = job.wait_run(starts=2)
    job.fleet.wait(lambda: job.master == ran.pod, "the status to name the master")
    job.wait_happened("elected", "stepped down", "elected")


def test_operators_that_start_without_an_api_server_take_part_once_it_is_there(job: Resource) -> None:
    job.fleet.end()
    with job.fleet.plane.api.gone():
        again = job.fleet.start(*PODS)
        job.fleet.wait(lambda: all(pod.says("cannot be listed at the moment") for pod in again), "them to say so")
    job.wait_run(starts=2)
    job.wait("Ready True Elected", "JobRunning True Running")
    job.wait_runs_in(job.master)
