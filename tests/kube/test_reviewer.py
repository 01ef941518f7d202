"""Who may use the control API is what the cluster's own rules say, asked of a real API server."""

from pathlib import Path

import pytest

from masterjob.kube.api.answers import ApiUnavailable
from masterjob.kube.api.client import Api
from masterjob.kube.api.login import connect
from masterjob.kube.cluster import Cluster
from masterjob.kube.follow.lister import Scope
from masterjob.kube.follow.observed import Observed
from masterjob.reviewer import ClusterReviewer
from masterjob.web.ports import Verb
from tests.envtest.control_plane import ControlPlane

OPERATOR = (
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
)
READER = {"apiGroups": ["masterjob.io"], "resources": ["masterjobs"], "verbs": ["get"]}
SWITCHER = {"apiGroups": ["masterjob.io"], "resources": ["masterjobs/control"], "verbs": ["update"]}


def owned(namespace: str, name: str) -> Observed:
    return Observed("uid", namespace, name, "1", 1, "2026-01-01T00:00:00Z", None, None, "JOB")


class Scene:
    """A reviewer with an operator's rights, for one namespace, where the lock JOB belongs to a MasterJob."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace
        self.reviewer = self.of(Scope((namespace,)))

    def of(self, scope: Scope) -> ClusterReviewer:
        config: Path = self.plane.kubeconfig_for("operator", *OPERATOR, namespace=self.namespace)
        cluster = Cluster(Api(connect(str(config), None)), scope, "test")
        return ClusterReviewer(cluster, lambda name: [owned(self.namespace, "job")] if name == "JOB" else [])

    def token(self, account: str, *rules: dict[str, list[str]], namespace: str | None = None) -> str:
        where = namespace or self.namespace
        self.plane.kubeconfig_for(account, *rules, namespace=where, everywhere=False)
        return self.plane.token_for(account, where)

    def may(self, token: str, verb: Verb, lock_name: str | None) -> bool:
        actor = self.reviewer.authenticate(token)
        assert actor is not None
        return self.reviewer.allowed(actor, verb, lock_name)


@pytest.fixture
def scene(cluster: ControlPlane, namespace: str) -> Scene:
    return Scene(cluster, namespace)


def test_a_token_tells_who_it_belongs_to(scene: Scene) -> None:
    actor = scene.reviewer.authenticate(scene.token("ann"))
    assert actor is not None
    assert actor.name == f"system:serviceaccount:{scene.namespace}:ann"


def test_a_token_of_nobody_is_nobody(scene: Scene) -> None:
    assert scene.reviewer.authenticate("nonsense") is None
    assert scene.reviewer.authenticate("") is None
    token = scene.token("leaver")
    scene.plane.kubectl("delete", "serviceaccount", "leaver", "-n", scene.namespace)
    assert scene.reviewer.authenticate(token) is None


def test_who_may_get_masterjobs_may_look_and_not_switch(scene: Scene) -> None:
    token = scene.token("reader", READER)
    assert scene.may(token, Verb.READ, "JOB")
    assert scene.may(token, Verb.READ, None)
    assert not scene.may(token, Verb.SWITCH, "JOB")


def test_who_may_update_their_control_may_switch(scene: Scene) -> None:
    token = scene.token("switcher", SWITCHER)
    assert scene.may(token, Verb.SWITCH, "JOB")
    assert scene.may(token, Verb.SWITCH, "a lock without a resource")
    assert not scene.may(token, Verb.READ, "JOB")


def test_rights_to_one_masterjob_reach_no_further(scene: Scene) -> None:
    token = scene.token("owner", SWITCHER | {"resourceNames": ["job"]})
    assert scene.may(token, Verb.SWITCH, "JOB")
    assert not scene.may(token, Verb.SWITCH, "a lock without a resource")


def test_rights_in_another_namespace_are_none_here(scene: Scene) -> None:
    token = scene.token("stranger", READER, SWITCHER, namespace=scene.plane.new_namespace())
    assert not scene.may(token, Verb.READ, "JOB")
    assert not scene.may(token, Verb.SWITCH, "JOB")


def test_what_concerns_all_of_a_cluster_needs_rights_in_all_of_it(scene: Scene) -> None:
    token = scene.token("reader", READER)
    scene.reviewer = scene.of(Scope(()))
    assert scene.may(token, Verb.READ, "JOB")
    assert not scene.may(token, Verb.READ, None)


def test_an_api_server_that_is_down_tells_nothing(scene: Scene) -> None:
    token = scene.token("reader", READER)
    with scene.plane.api.gone(), pytest.raises(ApiUnavailable):
        scene.reviewer.authenticate(token)
