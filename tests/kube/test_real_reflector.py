"""The reflector and the API client, with the least rights, on a real API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from masterjob.kube.api.client import KubeApi
from masterjob.kube.api.config import load_config
from masterjob.kube.api.errors import ApiConflict, ApiRefused
from masterjob.kube.informer.informer import Informer
from masterjob.kube.informer.reflector import Reflector
from masterjob.kube.informer.relist import InformerTimings, WatchScope
from masterjob.resource.masterjob import Resource
from tests.envtest.control_plane import ControlPlane
from tests.envtest.run import OPERATOR_RULES
from tests.library.conftest import wait_until


def manifest(name: str, namespace: str, **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "masterjob.io/v1alpha1",
        "kind": "MasterJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"lockName": name, **spec},
    }


@pytest.fixture
def kubeconfig(cluster: ControlPlane, namespace: str) -> Path:
    """An API client with the rights of an operator in its own namespace."""
    return cluster.kubeconfig_for("controller", *OPERATOR_RULES, namespace=namespace, cluster_wide=False)


@pytest.fixture
def api(kubeconfig: Path) -> Iterator[KubeApi]:
    api = KubeApi(load_config(str(kubeconfig), None))
    yield api
    api.close()


class ReflectorHarness:
    """A sink that keeps the current resources."""

    def __init__(self, api: KubeApi, scope: WatchScope) -> None:
        self.current: dict[str, Resource] = {}
        self.informer = Informer(api.cluster_id, self, lambda _: None, api.get)
        self.reflector = Reflector(api, scope, self.informer, InformerTimings(gap_relist_delay=0.1))

    def apply(self, source: str, resource: Resource) -> None:
        self.current[source] = resource

    def remove(self, source: str) -> None:
        del self.current[source]

    def resync(self) -> None:
        """Do nothing."""

    def enabled_by_name(self) -> dict[str, bool]:
        return {resource.name: resource.enabled for resource in list(self.current.values())}


def test_resources_are_watched_while_they_change(cluster: ControlPlane, namespace: str, api: KubeApi) -> None:
    cluster.apply(manifest("a", namespace))
    harness = ReflectorHarness(api, WatchScope((namespace,)))
    harness.reflector.start()
    wait_until(lambda: harness.reflector.is_watching and harness.enabled_by_name() == {"a": True})
    cluster.apply(manifest("b", namespace))
    cluster.apply(manifest("a", namespace, enabled=False))
    wait_until(lambda: harness.enabled_by_name() == {"a": False, "b": True})
    cluster.kubectl("delete", "mj", "b", "-n", namespace, "--wait=false")
    wait_until(lambda: harness.enabled_by_name() == {"a": False})
    wait_until(lambda: not harness.informer.is_watch_behind(0.0))
    assert harness.reflector.restarts == 0
    assert harness.reflector.stop()


def test_rights_in_one_namespace_do_not_count_in_the_cluster(api: KubeApi) -> None:
    harness = ReflectorHarness(api, WatchScope())
    harness.reflector.start()
    wait_until(lambda: harness.reflector.list_error is not None)
    assert str(harness.reflector.list_error).startswith(
        "MasterJobs in the whole cluster cannot be listed: we need get, list and watch on masterjobs.masterjob.io"
    )
    assert harness.reflector.stop()


def test_a_status_is_replaced_for_its_version_only(cluster: ControlPlane, namespace: str, api: KubeApi) -> None:
    cluster.apply(manifest("a", namespace))
    (found,) = api.list(namespace)
    version = found["metadata"]["resourceVersion"]
    first = api.patch_status(namespace, "a", version, {"term": 1, "transitions": 1})
    assert first is not None
    assert first["status"] == {"term": 1, "transitions": 1}
    with pytest.raises(ApiConflict):
        api.patch_status(namespace, "a", version, {"term": 2})
    second = api.patch_status(namespace, "a", first["metadata"]["resourceVersion"], {"term": 2})
    assert second is not None
    assert second["status"] == {"term": 2}
    assert second["metadata"]["generation"] == 1
    with pytest.raises(ApiRefused, match="unknown field"):
        api.patch_status(namespace, "a", second["metadata"]["resourceVersion"], {"nonsense": 2})
    assert api.patch_status(namespace, "b", "1", {"term": 2}) is None
    assert api.get(namespace, "b") is None


def test_a_token_is_resolved_to_its_user_and_rbac_decides(
    cluster: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    assert kubeconfig.exists()
    admin = KubeApi(load_config(str(cluster.kubeconfig), None))
    user = admin.token_review(cluster.token_for("controller", namespace))
    assert user is not None
    assert user.username == f"system:serviceaccount:{namespace}:controller"
    assert admin.subject_access_review(user, "patch", namespace, "a", "status")
    assert not admin.subject_access_review(user, "patch", namespace, "a")
    assert admin.token_review("nonsense") is None
    admin.close()


def test_an_event_is_created_once(namespace: str, api: KubeApi) -> None:
    event = {
        "metadata": {"name": "a.1", "namespace": namespace},
        "regarding": {
            "apiVersion": "masterjob.io/v1alpha1",
            "kind": "MasterJob",
            "name": "a",
            "namespace": namespace,
        },
        "type": "Normal",
        "reason": "Elected",
        "action": "Election",
        "note": "a is elected",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "masterjob.io/controller",
        "reportingInstance": "a",
    }
    assert api.create_event(namespace, event)
    assert not api.create_event(namespace, event)
