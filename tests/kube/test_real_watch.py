"""The watcher and the requests, with the least rights, on a real API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from masterjob.kube.api.answers import ApiRefused, Changed
from masterjob.kube.api.client import Api
from masterjob.kube.api.login import connect
from masterjob.kube.follow.lister import Pace, Scope
from masterjob.kube.follow.mirror import Mirror
from masterjob.kube.follow.watcher import Watcher
from masterjob.resource.resource import Resource
from tests.envtest.control_plane import ControlPlane
from tests.envtest.run import RIGHTS
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
    """The way of an account that has the rights of a controller, in its own namespace."""
    return cluster.kubeconfig_for("controller", *RIGHTS, namespace=namespace, everywhere=False)


@pytest.fixture
def api(kubeconfig: Path) -> Iterator[Api]:
    api = Api(connect(str(kubeconfig), None))
    yield api
    api.close()


class Followed:
    """What is followed."""

    def __init__(self, api: Api, scope: Scope) -> None:
        self.now: dict[str, Resource] = {}
        self.mirror = Mirror(api.cluster, self, lambda _: None, api.get)
        self.watcher = Watcher(api, scope, self.mirror, Pace(settle=0.1))

    def apply(self, source: str, resource: Resource) -> None:
        self.now[source] = resource

    def remove(self, source: str) -> None:
        del self.now[source]

    def repeat(self) -> None:
        """Nothing to do."""

    def enabled(self) -> dict[str, bool]:
        return {resource.name: resource.enabled for resource in list(self.now.values())}


def test_resources_are_followed_while_they_change(cluster: ControlPlane, namespace: str, api: Api) -> None:
    cluster.apply(manifest("a", namespace))
    followed = Followed(api, Scope((namespace,)))
    followed.watcher.start()
    wait_until(lambda: followed.watcher.hears and followed.enabled() == {"a": True})
    cluster.apply(manifest("b", namespace))
    cluster.apply(manifest("a", namespace, enabled=False))
    wait_until(lambda: followed.enabled() == {"a": False, "b": True})
    cluster.kubectl("delete", "mj", "b", "-n", namespace, "--wait=false")
    wait_until(lambda: followed.enabled() == {"a": False})
    wait_until(lambda: not followed.mirror.unheard(0.0))
    assert followed.watcher.restarts == 0
    assert followed.watcher.stop()


def test_rights_in_one_namespace_are_none_in_the_cluster(api: Api) -> None:
    followed = Followed(api, Scope())
    followed.watcher.start()
    wait_until(lambda: followed.watcher.trouble is not None)
    assert str(followed.watcher.trouble).startswith(
        "MasterJobs in the whole cluster cannot be listed: we need get, list and watch on masterjobs.masterjob.io"
    )
    assert followed.watcher.stop()


def test_a_status_is_replaced_for_its_version_only(cluster: ControlPlane, namespace: str, api: Api) -> None:
    cluster.apply(manifest("a", namespace))
    (found,) = api.list(namespace)
    version = found["metadata"]["resourceVersion"]
    first = api.patch_status(namespace, "a", version, {"term": 1, "transitions": 1})
    assert first is not None
    assert first["status"] == {"term": 1, "transitions": 1}
    with pytest.raises(Changed):
        api.patch_status(namespace, "a", version, {"term": 2})
    second = api.patch_status(namespace, "a", first["metadata"]["resourceVersion"], {"term": 2})
    assert second is not None
    assert second["status"] == {"term": 2}
    assert second["metadata"]["generation"] == 1
    with pytest.raises(ApiRefused, match="unknown field"):
        api.patch_status(namespace, "a", second["metadata"]["resourceVersion"], {"nonsense": 2})
    assert api.patch_status(namespace, "b", "1", {"term": 2}) is None
    assert api.get(namespace, "b") is None


def test_who_comes_with_a_token_and_may_do_what_the_cluster_says(
    cluster: ControlPlane, namespace: str, kubeconfig: Path
) -> None:
    assert kubeconfig.exists()
    admin = Api(connect(str(cluster.kubeconfig), None))
    who = admin.token_review(cluster.token_for("controller", namespace))
    assert who is not None
    assert who.username == f"system:serviceaccount:{namespace}:controller"
    assert admin.subject_access_review(who, "patch", namespace, "a", "status")
    assert not admin.subject_access_review(who, "patch", namespace, "a")
    assert admin.token_review("nonsense") is None
    admin.close()


def test_an_event_is_created_once(namespace: str, api: Api) -> None:
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
