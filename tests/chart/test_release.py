"""Releases on a real API server, and operators that run with only what the release gives them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.chart.helm import CHART, ROOT, Helm, Values
from tests.chart.kubelet import Kubelet, run_kubelet
from tests.e2e import record
from tests.e2e.sample import TABLE
from tests.envtest.control_plane import ControlPlane
from tests.servers import Server

FAST_TIMING = {"initDelay": "100ms", "heartbeatInterval": "500ms", "leaseDuration": "10s", "stopTimeout": "300ms"}
SLEEP_JOB: Values = {"exec": {"command": ["sleep", "infinity"]}}
REPORT_VALUES: dict[str, Any] = {
    "config": FAST_TIMING,
    "jobs": {"report": SLEEP_JOB},
    "masterJobs": {"report": {"lockName": "REPORT", "job": "report"}},
}


class Release:
    """One release of the chart, in its own namespace."""

    def __init__(self, plane: ControlPlane, helm: Helm, folder: Path) -> None:
        self.plane, self.helm, self.folder = plane, helm, folder

    def install(self, values: Values, chart: Path = CHART) -> str:
        return self.helm("install", "masterjob", chart, "-f", self.helm.write_values(values))

    def upgrade(self, values: Values, chart: Path = CHART) -> str:
        return self.helm("upgrade", "masterjob", chart, "-f", self.helm.write_values(values))

    def uninstall(self) -> str:
        return self.helm("uninstall", "masterjob")

    def pods(self) -> "contextlib.AbstractContextManager[Kubelet]":
        return run_kubelet(self.plane, self.folder / "pods", self.helm.namespace)

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self.plane.kubectl(*arguments, "-n", self.helm.namespace, **options).stdout

    def wait(self, condition: str) -> None:
        self.kubectl("wait", f"--for=condition={condition}", "mj/report", "--timeout=120s")

    def wait_all_running(self, pods: Kubelet) -> None:
        try:
            self.kubectl("wait", "--for=condition=JobRunning", "mj", "--all", "--timeout=120s")
        except AssertionError as error:
            logs = [f"{pod.name}: {pod.log.read_text()}" for pod in pods.pods]
            raise AssertionError("\n".join([str(error), self.kubectl("get", "mj", "-o", "yaml"), *logs])) from None

    def remaining_objects(self) -> list[str]:
        """Return the kind and name of every object of the release, in any namespace."""
        kinds = ["crd", "clusterroles", "clusterrolebindings", "roles", "rolebindings", "serviceaccounts", "all"]
        kinds += ["configmaps", "secrets", "poddisruptionbudgets", "persistentvolumeclaims"]
        kinds += ["masterjobs"] if "masterjobs" in self.plane.kubectl("get", "crd", "-o", "name").stdout else []
        found = self.kubectl("get", ",".join(kinds), "-o", "name").split()
        return [name for name in found if "masterjob" in name or "release" in name]


@pytest.fixture
def release(plane: ControlPlane, helm: Helm, tmp_path: Path) -> Iterator[Release]:
    """A release that is not installed yet; removed afterwards, with the definition."""
    namespace = plane.new_namespace()
    yield Release(plane, Helm(tmp_path, plane, namespace), tmp_path)
    Helm(tmp_path, plane, namespace)("uninstall", "masterjob", "--ignore-not-found")
    plane.kubectl("delete", "crd", "masterjobs.masterjob.io", "--ignore-not-found")


def spec_of(release: Release, name: str = "report") -> Any:
    return release.plane.get_json("mj", name, "-n", release.helm.namespace)["spec"]


# --- install


def test_without_values_there_is_one_pod_on_sqlite_and_the_notes_warn_about_it(release: Release) -> None:
    assert "THIS IS AN EVALUATION INSTALL. One pod decides alone, on SQLite" in release.install({})
    with release.pods() as pods:
        pods.start_pods(1)


def test_with_a_server_the_notes_do_not_mention_an_evaluation_install(release: Release) -> None:
    assert "EVALUATION" not in release.install({"replicaCount": 3, "database": {"existingSecret": "db"}})


def test_masterjobs_of_values_are_there_after_the_very_first_install(release: Release) -> None:
    release.install(REPORT_VALUES)
    assert spec_of(release) == {"lockName": "REPORT", "job": "report", "enabled": True}


# --- the account of the release


@pytest.mark.parametrize("watch", [{}, {"all": True}], ids=["its own namespace", "all namespaces"])
def test_the_rights_of_the_release_are_enough_for_an_operator(release: Release, watch: Values) -> None:
    release.install({**REPORT_VALUES, "watch": watch})
    with release.pods() as pods:
        (pod,) = pods.start_pods(1)
        release.wait("JobRunning")
        release.kubectl(
            "patch", "mj/report", "--type=merge", '-p={"spec":{"enabled":false,"disabledReason":"why not"}}'
        )
        release.wait("Enabled=false")
        assert "why not" in release.kubectl("get", "mj/report")
        pod.terminate()
        log = pod.log.read_text()
    assert "Elected" in release.kubectl("get", "events.events.k8s.io", "-o", "jsonpath={.items[*].reason}")
    assert "forbidden" not in log.lower()


def test_the_account_has_the_rights_of_the_rules_and_no_others(release: Release) -> None:
    release.install({})
    impersonation = f"--as=system:serviceaccount:{release.helm.namespace}:masterjob"
    listed = release.kubectl("auth", "can-i", "--list", impersonation, "--no-headers").splitlines()
    granted = {line.split()[0] for line in listed} - {"selfsubjectreviews.authentication.k8s.io"}
    granted -= {"selfsubjectaccessreviews.authorization.k8s.io", "selfsubjectrulesreviews.authorization.k8s.io"}
    assert {name for name in granted if not name.startswith("[")} == {
        "masterjobs.masterjob.io",
        "masterjobs.masterjob.io/status",
        "events.events.k8s.io",
        "tokenreviews.authentication.k8s.io",
        "subjectaccessreviews.authorization.k8s.io",
    }
    refused = release.plane.kubectl("auth", "can-i", "get", "secrets", impersonation, expect_failure=True)
    assert refused.stdout.strip() == "no"


def test_rbac_decides_who_may_use_the_api(release: Release) -> None:
    release.install(REPORT_VALUES)
    namespace = release.helm.namespace
    users = (
        (ROOT / "deploy" / "rbac" / "api-users.yaml")
        .read_text()
        .replace("namespace: masterjob}", f"namespace: {namespace}}}")
    )
    release.plane.kubectl("apply", "-f", "-", stdin=users)
    reader, switch = (release.plane.token_for(f"masterjob-{each}", namespace) for each in ("reader", "switch"))
    disable = {"fields": {"lockName": "REPORT", "reason": "testing"}, "encode_multipart": False}
    with release.pods() as pods:
        (pod,) = pods.start_pods(1)
        release.wait("Elected")
        assert pod.request(pod.api_port, "/api/MasterLocks").status == 401
        assert pod.request(pod.api_port, "/api/MasterLocks", "unknown-token").status == 401
        assert pod.request(pod.api_port, "/api/MasterLocks/REPORT", reader).json()["lockName"] == "REPORT"
        assert pod.request(pod.api_port, "/api/MasterControls/disable", reader, **disable).status == 403
        assert pod.request(pod.api_port, "/api/MasterControls/disable", switch, **disable).status == 200
        release.wait("Enabled=false")


# --- upgrade


def test_the_first_upgrade_takes_the_masterjobs_over_and_the_second_changes_them(release: Release) -> None:
    release.install(REPORT_VALUES)
    uid = release.plane.get_json("mj", "report", "-n", release.helm.namespace)["metadata"]["uid"]
    release.upgrade(REPORT_VALUES)
    slower = {"report": {**REPORT_VALUES["masterJobs"]["report"], "heartbeatInterval": "2s"}}
    release.upgrade({**REPORT_VALUES, "masterJobs": slower})
    found = release.plane.get_json("mj", "report", "-n", release.helm.namespace)
    assert found["metadata"]["uid"] == uid
    assert found["spec"]["heartbeatInterval"] == "2s"
    release.upgrade({**REPORT_VALUES, "masterJobs": {}})
    release.plane.kubectl("get", "mj", "report", "-n", release.helm.namespace, expect_failure=True)


def test_an_upgrade_does_not_enable_what_a_user_has_disabled(release: Release) -> None:
    release.install(REPORT_VALUES)
    release.kubectl(
        "patch", "mj/report", "--type=merge", '-p={"spec":{"enabled":false,"disabledReason":"stop it"}}'
    )
    for interval in ("1s", "2s"):  # the first upgrade adopts it
        release.upgrade({**REPORT_VALUES, "config": {**FAST_TIMING, "heartbeatInterval": interval}})
        assert (spec_of(release)["enabled"], spec_of(release)["disabledReason"]) == (False, "stop it")
    release.kubectl("patch", "mj/report", "--type=merge", '-p={"spec":{"enabled":true}}')
    release.upgrade(REPORT_VALUES)
    assert spec_of(release)["enabled"] is True


def test_the_definition_is_upgraded_with_the_chart(release: Release, tmp_path: Path) -> None:
    former = tmp_path / "former"
    former.mkdir()
    for path in CHART.rglob("*"):
        if path.is_file():
            copy = former / path.relative_to(CHART)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    file = former / "files" / "masterjobs.yaml"
    definition = yaml.safe_load(file.read_text())
    newest = len(definition["spec"]["versions"][0]["additionalPrinterColumns"])
    del definition["spec"]["versions"][0]["additionalPrinterColumns"][-1]
    file.write_text(yaml.safe_dump(definition))

    def columns() -> int:
        found = release.plane.get_json("crd", "masterjobs.masterjob.io")
        return len(found["spec"]["versions"][0]["additionalPrinterColumns"])

    release.install(REPORT_VALUES, former)
    assert columns() == newest - 1
    release.upgrade(REPORT_VALUES)
    assert columns() == newest
    assert spec_of(release)["lockName"] == "REPORT"


def test_another_configuration_is_another_template(release: Release) -> None:
    def template() -> Any:
        return release.plane.get_json("deployment", "masterjob", "-n", release.helm.namespace)["spec"]["template"]

    release.install({})
    before = template()
    release.upgrade({"metrics": {"serviceMonitor": {"interval": "5s"}}})
    assert template() == before
    release.upgrade(REPORT_VALUES)
    assert template() != before


def test_a_rolling_upgrade_hands_every_job_over(release: Release, postgresql: Server) -> None:
    url, names = postgresql.create_database(), [f"job-{number}" for number in range(6)]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE.encode())
    release.kubectl("create", "secret", "generic", "db", f"--from-literal=url={url}")
    release.install(
        {
            "replicaCount": 3,
            "database": {"existingSecret": "db"},
            "config": FAST_TIMING,
            "jobs": {"sample": {"python": {"entry": "tests.e2e.sample:job"}}},
            "masterJobs": {name: {"lockName": name.upper(), "job": "sample"} for name in names},
            "extraEnv": [{"name": "PYTHONPATH", "value": str(ROOT)}],
        }
    )
    with release.pods() as pods:
        pods.start_pods(3)
        release.wait_all_running(pods)
        pods.rolling_update()
        release.wait_all_running(pods)
        for pod in pods.pods:
            pod.terminate()
    with psycopg.connect(url) as connection:
        rows = [record.Row.parse("|".join(map(str, row))) for row in connection.execute(record.QUERY.encode())]
    gaps = record.gaps(rows)
    assert record.second_masters(rows) == []
    assert {gap.lock_name for gap in gaps} == {name.upper() for name in names}
    assert all(gap.is_graceful for gap in gaps)
    # Handed over, without waiting for the end of a lease. The benchmarks measure how fast.
    assert max(gap.seconds for gap in gaps) < 5.0


# --- uninstall


@pytest.mark.parametrize("upgraded", [False, True], ids=["at once", "after an upgrade"])
@pytest.mark.parametrize(
    ("keep", "remaining"),
    [(True, ["customresourcedefinition.apiextensions.k8s.io/masterjobs.masterjob.io"]), (False, [])],
)
def test_an_uninstall_keeps_only_what_the_values_say(
    release: Release, upgraded: bool, keep: bool, remaining: list[str]
) -> None:
    values = {**REPORT_VALUES, "crds": {"keep": keep}}
    release.install(values)
    if upgraded:
        release.upgrade(values)
    release.uninstall()
    if not keep:
        release.kubectl("wait", "--for=delete", "crd/masterjobs.masterjob.io", "--timeout=120s")
    assert release.remaining_objects() == remaining


def test_masterjobs_of_others_outlive_a_release_that_keeps_the_definition(release: Release) -> None:
    release.install({})
    sample = (ROOT / "crds" / "samples" / "minimal.yaml").read_text()
    release.kubectl("wait", "--for=condition=Established", "crd/masterjobs.masterjob.io", "--timeout=120s")
    release.kubectl("apply", "-f", "-", stdin=sample)
    release.uninstall()
    assert spec_of(release)["lockName"] == "REPORT"
    release.install({})  # a release of the same name adopts the definition again
    assert spec_of(release)["lockName"] == "REPORT"
