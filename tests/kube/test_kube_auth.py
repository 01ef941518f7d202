"""Access to the control API by the RBAC of a cluster, on a real API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from masterjob.app.kube_auth import KubeAuthenticator
from masterjob.kube.api.client import KubeApi
from masterjob.kube.api.config import load_config
from masterjob.kube.api.errors import ApiUnavailable
from masterjob.kube.cluster import Cluster
from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.kube.informer.relist import WatchScope
from masterjob.web.interfaces import Verb
from tests.envtest.control_plane import ControlPlane

OPERATOR_RULES = (
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
)
READER_RULE = {"apiGroups": ["masterjob.io"], "resources": ["masterjobs"], "verbs": ["get"]}
SWITCHER_RULE = {"apiGroups": ["masterjob.io"], "resources": ["masterjobs/control"], "verbs": ["update"]}


def observed_resource(namespace: str, name: str) -> ObservedResource:
    return ObservedResource("uid", namespace, name, "1", 1, "2026-01-01T00:00:00Z", None, None, "JOB")


class KubeAuthHarness:
    """An authenticator with the rights of an operator in one namespace, where a MasterJob has the lock JOB."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace
        self._apis: list[KubeApi] = []
        self.reviewer = self.reviewer_for(WatchScope((namespace,)))

    def reviewer_for(self, scope: WatchScope) -> KubeAuthenticator:
        kubeconfig: Path = self.plane.kubeconfig_for("operator", *OPERATOR_RULES, namespace=self.namespace)
        self._apis.append(KubeApi(load_config(str(kubeconfig), None)))
        cluster = Cluster(self._apis[-1], scope, "test")
        return KubeAuthenticator(
            cluster, lambda name: [observed_resource(self.namespace, "job")] if name == "JOB" else []
        )

    def close(self) -> None:
        for api in self._apis:
            api.close()

    def token(self, account: str, *rules: dict[str, list[str]], namespace: str | None = None) -> str:
        account_namespace = namespace or self.namespace
        self.plane.kubeconfig_for(account, *rules, namespace=account_namespace, cluster_wide=False)
        return self.plane.token_for(account, account_namespace)

    def is_allowed(self, token: str, verb: Verb, lock_name: str | None) -> bool:
        actor = self.reviewer.authenticate(token)
        assert actor is not None
        return self.reviewer.allowed(actor, verb, lock_name)


@pytest.fixture
def harness(cluster: ControlPlane, namespace: str) -> Iterator[KubeAuthHarness]:
    harness = KubeAuthHarness(cluster, namespace)
    yield harness
    harness.close()


def test_a_token_is_resolved_to_its_user(harness: KubeAuthHarness) -> None:
    actor = harness.reviewer.authenticate(harness.token("ann"))
    assert actor is not None
    assert actor.name == f"system:serviceaccount:{harness.namespace}:ann"


def test_an_unknown_token_is_not_authenticated(harness: KubeAuthHarness) -> None:
    assert harness.reviewer.authenticate("nonsense") is None
    assert harness.reviewer.authenticate("") is None
    token = harness.token("leaver")
    harness.plane.kubectl("delete", "serviceaccount", "leaver", "-n", harness.namespace)
    assert harness.reviewer.authenticate(token) is None


def test_the_right_to_get_masterjobs_allows_reading_and_no_switching(harness: KubeAuthHarness) -> None:
    token = harness.token("reader", READER_RULE)
    assert harness.is_allowed(token, Verb.READ, "JOB")
    assert harness.is_allowed(token, Verb.READ, None)
    assert not harness.is_allowed(token, Verb.SWITCH, "JOB")


def test_the_right_to_update_the_control_subresource_allows_switching(harness: KubeAuthHarness) -> None:
    token = harness.token("switcher", SWITCHER_RULE)
    assert harness.is_allowed(token, Verb.SWITCH, "JOB")
    assert harness.is_allowed(token, Verb.SWITCH, "a lock without a resource")
    assert not harness.is_allowed(token, Verb.READ, "JOB")


def test_rights_to_one_masterjob_reach_no_further(harness: KubeAuthHarness) -> None:
    token = harness.token("owner", SWITCHER_RULE | {"resourceNames": ["job"]})
    assert harness.is_allowed(token, Verb.SWITCH, "JOB")
    assert not harness.is_allowed(token, Verb.SWITCH, "a lock without a resource")


def test_rights_in_another_namespace_do_not_count(harness: KubeAuthHarness) -> None:
    token = harness.token("stranger", READER_RULE, SWITCHER_RULE, namespace=harness.plane.new_namespace())
    assert not harness.is_allowed(token, Verb.READ, "JOB")
    assert not harness.is_allowed(token, Verb.SWITCH, "JOB")


def test_requests_for_the_whole_cluster_need_rights_in_the_whole_cluster(harness: KubeAuthHarness) -> None:
    token = harness.token("reader", READER_RULE)
    harness.reviewer = harness.reviewer_for(WatchScope(()))
    assert harness.is_allowed(token, Verb.READ, "JOB")
    assert not harness.is_allowed(token, Verb.READ, None)


def test_nothing_is_authenticated_while_the_api_server_is_down(harness: KubeAuthHarness) -> None:
    token = harness.token("reader", READER_RULE)
    with harness.plane.api.outage(), pytest.raises(ApiUnavailable):
        harness.reviewer.authenticate(token)
