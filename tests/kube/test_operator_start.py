"""How operators start and recover: earlier changes, no CRD, no database, another token."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3

from tests.envtest.control_plane import ControlPlane
from tests.faults.server import FaultyPostgreSQL
from tests.kube.conftest import API_PATH, CRDS
from tests.kube.operators import SHORT_LEASE, Fleet, fleet
from tests.servers import Unavailable
from tests.timeouts import WAIT_TIMEOUT

MakeFleet = Callable[..., Fleet]


@pytest.fixture
def make_fleet(cluster: ControlPlane, tmp_path: Path) -> Iterator[MakeFleet]:
    """Yield a function that makes a fleet for a new namespace, on SQLite unless a database is given."""
    with contextlib.ExitStack() as stack:

        def make(url: str | None = None) -> Fleet:
            url = url or f"sqlite:///{tmp_path / 'masterjob.sqlite3'}"
            return stack.enter_context(fleet(cluster, tmp_path, url, namespace=cluster.new_namespace()))

        yield make


@pytest.fixture
def faulty_postgresql() -> Iterator[FaultyPostgreSQL]:
    """A PostgreSQL that one test may stop."""
    try:
        server = FaultyPostgreSQL()
        server.start()
    except Unavailable as error:
        if os.environ.get("MASTERJOB_REQUIRE_DATABASES") == "1":
            pytest.fail(f"PostgreSQL is not available here: {error}", pytrace=False)
        pytest.skip(f"PostgreSQL is not available here: {error}")
    yield server
    server.stop()


def test_changes_and_deletions_while_no_operator_ran_are_found_at_the_start(make_fleet: MakeFleet) -> None:
    operators = make_fleet()
    deleted, disabled, enabled = (operators.new_masterjob() for _ in range(3))
    operators.start("pod-a")
    deleted.apply(enabled=False, disabledReason="left over")
    disabled.apply()
    enabled.apply(enabled=False, disabledReason="before")
    deleted.wait("Ready True Disabled", "Enabled False DisabledBySpec")
    disabled.wait("Ready True Running", "JobRunning True Running")
    disabled.wait_started(count=1)
    enabled.wait("Ready True Disabled")
    operators.terminate_all()
    disabled.wait("Ready False Vacant", "Elected False Vacant", "JobRunning False NotElected")

    deleted.delete()
    disabled.patch(enabled=False, disabledReason="while no operator ran")
    enabled.patch(enabled=True)
    assert not operators.run_cli_json("status", deleted.lock_name)["enabled"]

    operators.start("pod-a", "pod-b")
    operators.wait(
        lambda: operators.run_cli_json("status", deleted.lock_name)["enabled"], "the left switch to be gone"
    )
    assert operators.query(f"SELECT 1 FROM master_control WHERE lock_name = '{deleted.lock_name}'") == []
    disabled.wait("Ready True Disabled", "Enabled False DisabledBySpec", "Elected False Disabled")
    assert disabled.status["disabled"]["reason"] == "while no operator ran"
    assert disabled.start_count == 1
    enabled.wait("Ready True Running", "JobRunning True Running")


def test_without_the_crd_they_wait_and_log_it_and_recover_once_it_is_installed(
    cluster: ControlPlane, make_fleet: MakeFleet
) -> None:
    operators = make_fleet()
    definition = CRDS / "masterjobs.yaml"
    cluster.kubectl("delete", "-f", str(definition))
    try:
        pods = operators.start("pod-a", "pod-b")
        missing = "the API server does not know masterjobs.masterjob.io yet: kubectl apply -f crds/masterjobs.yaml"
        operators.wait(lambda: all(pod.has_logged(missing) for pod in pods), "them to say so")
    finally:
        cluster.kubectl("apply", "--server-side", "-f", str(definition))
        cluster.kubectl(
            "wait", "--for=condition=Established", "crd/masterjobs.masterjob.io", f"--timeout={WAIT_TIMEOUT:.0f}s"
        )
        schema = f"/openapi/v3{API_PATH}"
        operators.wait(lambda: cluster.api.request("GET", schema).status == 200, "the schema")
    job = operators.new_masterjob()
    job.apply()
    job.wait("Ready True Running", "JobRunning True Running")
    job.patch(enabled=False)
    job.wait("Ready True Disabled")


def test_a_token_that_was_replaced_is_used_and_the_old_one_may_expire(
    cluster: ControlPlane, make_fleet: MakeFleet, tmp_path: Path
) -> None:
    operators = make_fleet()
    namespace = str(operators.namespace)
    folder = tmp_path / "service-account"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(cluster.api.ca_file.read_bytes())
    (folder / "namespace").write_text(namespace)

    def new_token(name: str) -> str:
        """Return a token that is valid as long as the secret with that name exists."""
        cluster.kubectl("create", "secret", "generic", name, "--namespace", namespace)
        bound = ("--bound-object-kind=Secret", f"--bound-object-name={name}")
        token = cluster.kubectl("create", "token", "masterjob", "--namespace", namespace, *bound).stdout.strip()
        (folder / "new").write_text(token)
        (folder / "new").rename(folder / "token")
        return token

    def is_refused(token: str) -> bool:
        with urllib3.PoolManager(ca_certs=str(cluster.api.ca_file), retries=False) as pool:
            response = pool.request("GET", f"{cluster.url}/api", headers={"Authorization": f"Bearer {token}"})
        return response.status == 401

    first = new_token("first")
    service_variables = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(cluster.api.port)}
    command = [sys.executable, "-m", "tests.kube.in_pod", str(folder), "operator", "--config"]
    operators.spawn("pod-a", [*command, "tests/kube/operators.yaml"], service_variables)
    job = operators.new_masterjob()
    job.apply()
    job.wait("Ready True Running", "JobRunning True Running")

    new_token("second")
    cluster.kubectl("delete", "secret", "first", "--namespace", namespace)
    with cluster.api.outage():  # which also clears its cache of tokens
        pass
    operators.wait(lambda: is_refused(first), "the old token to be refused")
    job.patch(enabled=False)
    job.wait("Ready True Disabled")
    job.patch(enabled=True)
    job.wait("Ready True Running")
    job.wait_events("Elected", "SteppedDown", "Disabled", "Enabled", "Elected")


def test_without_the_database_there_is_no_master_and_the_status_gives_the_reason(
    faulty_postgresql: FaultyPostgreSQL, make_fleet: MakeFleet
) -> None:
    operators = make_fleet(faulty_postgresql.create_database())
    operators.start("pod-a", "pod-b", "pod-c")
    job, late = operators.new_masterjob(), operators.new_masterjob()
    job.apply(**SHORT_LEASE)
    term = job.wait("Ready True Running", "JobRunning True Running")["term"]
    job.wait_started(count=1)
    faulty_postgresql.shut_down()
    job.wait_past_status(
        "Ready Unknown NotConfirmed", "Elected Unknown NotConfirmed", "Enabled Unknown NotConfirmed"
    )
    job.wait_any_generation("Ready Unknown DatabaseUnavailable", "Elected Unknown DatabaseUnavailable")
    job.wait_any_generation("Enabled Unknown DatabaseUnavailable", "JobRunning False NotElected")
    assert job.journal[-1].event == "stop"
    late.apply(**SHORT_LEASE)
    late.wait_any_generation("Ready Unknown DatabaseUnavailable", "JobRunning Unknown NotReported")

    faulty_postgresql.restart()
    job.wait("Ready True Running", "Elected True Elected", "Enabled True Enabled", "JobRunning True Running")
    late.wait("Ready True Running", "JobRunning True Running")
    assert job.term > term
    job.wait_running_in(job.master)
    job.wait_started(count=2)
    job.fleet.wait(lambda: "SteppedDown" in job.event_reasons(), "the Event of the first master")
    stepped_down = next(each for each in job.events() if each["reason"] == "SteppedDown")
    assert (stepped_down["type"], "no heartbeat was confirmed" in stepped_down["note"]) == ("Warning", True)
