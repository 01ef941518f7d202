"""Requests to a faulty stub of the API server, the errors that follow, and how the config is found."""

import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from masterjob.errors import SettingError
from masterjob.kube.api import client as client_module
from masterjob.kube.api import config as config_module
from masterjob.kube.api.client import KubeApi, UserInfo
from masterjob.kube.api.errors import ApiConflict, ApiRefused, ApiUnavailable, CrdNotInstalled
from tests.kube.stub import StubApiServer, hang, reset, respond_with
from tests.library.conftest import wait_until
from tests.timeouts import WAIT_TIMEOUT


@pytest.fixture
def stub() -> Iterator[StubApiServer]:
    with StubApiServer() as stub:
        yield stub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of a service account."""
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_text("an authority\n")
    (tmp_path / "namespace").write_text("home")
    return tmp_path


@pytest.fixture
def api(stub: StubApiServer, folder: Path) -> Iterator[KubeApi]:
    api = KubeApi(config_module.load_service_account(stub.url, folder))
    yield api
    api.close()


# --- lists and objects


def test_a_list_is_of_all_pages(stub: StubApiServer, api: KubeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_PAGE_SIZE", 2)
    for name in ("a", "b", "c", "d", "e"):
        stub.apply(name, lockName=name)
    assert [each["metadata"]["name"] for each in api.list(None)] == ["a", "b", "c", "d", "e"]
    assert stub.count_requests("LIST") == 3


def test_a_list_that_expires_midway_is_restarted(
    stub: StubApiServer, api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_PAGE_SIZE", 1)
    stub.apply("a", lockName="A")
    stub.apply("b", lockName="B")
    stub.fail_next("LIST", lambda _: False)
    stub.fail_next("LIST", respond_with(410))
    assert len(api.list(None)) == 2
    assert [asked.query.get("continue") for asked in stub.requests("LIST")] == [None, "1", None, "1"]


def test_a_list_is_of_one_namespace_or_of_all(stub: StubApiServer, api: KubeApi) -> None:
    stub.apply("a", "one", lockName="A")
    stub.apply("b", "two", lockName="B")
    assert [each["metadata"]["name"] for each in api.list("two")] == ["b"]
    assert len(api.list(None)) == 2


def test_an_unknown_type_is_not_an_empty_list(stub: StubApiServer, api: KubeApi) -> None:
    stub.state.is_crd_installed = False
    with pytest.raises(CrdNotInstalled):
        api.list(None)
    with pytest.raises(CrdNotInstalled):
        api.get("default", "a")
    with pytest.raises(CrdNotInstalled):
        api.patch_status("default", "a", "1", {})
    assert not api.is_served()


def test_discovery_shows_whether_the_type_is_served(stub: StubApiServer, api: KubeApi) -> None:
    assert api.is_served()
    stub.fail_next("DISCOVERY", respond_with(404))
    assert not api.is_served()


def test_an_object_that_is_not_there_is_none(stub: StubApiServer, api: KubeApi) -> None:
    stub.apply("a", lockName="LOCK")
    found = api.get("default", "a")
    assert found is not None
    assert found["spec"] == {"lockName": "LOCK"}
    assert api.get("default", "b") is None
    assert api.patch_status("default", "b", "1", {}) is None


def test_a_status_replaces_the_whole_one_before_it(stub: StubApiServer, api: KubeApi) -> None:
    version = stub.apply("a", lockName="LOCK")["metadata"]["resourceVersion"]
    first = api.patch_status("default", "a", version, {"term": 1, "master": {"pod": "p"}})
    assert first is not None
    second = api.patch_status("default", "a", first["metadata"]["resourceVersion"], {"term": 2})
    assert second is not None
    assert second["status"] == {"term": 2}
    assert stub.requests("PATCH")[0].query["fieldValidation"] == "Strict"


def test_a_status_for_another_version_is_not_written(stub: StubApiServer, api: KubeApi) -> None:
    version = stub.apply("a", lockName="LOCK")["metadata"]["resourceVersion"]
    stub.apply("a", lockName="LOCK", enabled=False)
    with pytest.raises(ApiConflict):
        api.patch_status("default", "a", version, {"term": 1})


# --- errors


@pytest.mark.parametrize("status", [401, 408, 429, 500, 503, 504])
def test_an_answer_that_decides_nothing_is_unavailable(stub: StubApiServer, api: KubeApi, status: int) -> None:
    stub.fail_next("LIST", respond_with(status, "not now"))
    with pytest.raises(ApiUnavailable, match=f"the API server answered: not now \\({status}\\)") as caught:
        api.list(None)
    assert caught.value.retry_after is None


def test_the_retry_after_header_is_kept(stub: StubApiServer, api: KubeApi) -> None:
    stub.fail_next("LIST", respond_with(429, Retry_After="7"))
    with pytest.raises(ApiUnavailable) as caught:
        api.list(None)
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_refusal_has_its_status_and_message(stub: StubApiServer, api: KubeApi, status: int) -> None:
    stub.fail_next("PATCH", respond_with(status, "you may not"))
    with pytest.raises(ApiRefused, match="the API server answered: you may not") as caught:
        api.patch_status("default", "a", "1", {})
    assert caught.value.status == status


def test_a_connection_that_breaks_is_unavailable(stub: StubApiServer, api: KubeApi) -> None:
    stub.fail_next("LIST", reset)
    with pytest.raises(ApiUnavailable, match=rf"{stub.url} does not answer"):
        api.list(None)
    stub.stop()
    with pytest.raises(ApiUnavailable, match="refused"):
        api.list(None)


def test_an_answer_that_does_not_come_is_unavailable(
    stub: StubApiServer, api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "READ_TIMEOUT", 0.1)
    stub.fail_next("LIST", hang)
    with pytest.raises(ApiUnavailable, match="timed out"):
        api.list(None)


def test_an_answer_that_is_no_json_is_unavailable(stub: StubApiServer, api: KubeApi) -> None:
    def proxy(handler: Any) -> bool:
        handler.reply(200, "<html>a proxy</html>")
        return True

    stub.fail_next("LIST", proxy)
    with pytest.raises(ApiUnavailable):
        api.list(None)


def test_a_thread_that_waits_for_an_answer_can_be_cancelled(stub: StubApiServer, api: KubeApi) -> None:
    caught: list[Exception] = []

    def list_objects() -> None:
        try:
            api.list(None)
        except ApiUnavailable as error:
            caught.append(error)

    api.list(None)  # the next request reuses this connection
    stub.fail_next("LIST", hang)
    thread = threading.Thread(target=list_objects)
    thread.start()
    wait_until(lambda: stub.count_requests("LIST") == 2)
    assert thread.ident is not None
    api.cancel(thread.ident)
    thread.join(WAIT_TIMEOUT)
    assert caught
    assert api.list(None) == []


# --- Events and reviews


def test_an_event_is_created_once(stub: StubApiServer, api: KubeApi) -> None:
    body = {"metadata": {"name": "a.1", "namespace": "default"}, "reason": "Elected"}
    assert api.create_event("default", body)
    assert not api.create_event("default", body)
    assert stub.state.events["a.1"]["apiVersion"] == "events.k8s.io/v1"


def test_a_token_is_resolved_to_its_user_or_to_nobody(stub: StubApiServer, api: KubeApi) -> None:
    user = {"username": "ann", "uid": "7", "groups": ["ops"], "extra": {"scopes": ["x"]}}
    stub.state.review_statuses["tokenreviews"] = {"authenticated": True, "user": user, "audiences": ["masterjob"]}
    ann = UserInfo("ann", "7", ("ops",), {"scopes": ["x"]})
    assert api.token_review("secret", ["masterjob"]) == ann
    assert api.token_review("secret", ["another"]) is None
    stub.state.review_statuses["tokenreviews"] = {"authenticated": False, "user": user}
    assert api.token_review("secret") is None


def test_a_server_that_knows_no_audiences_accepts_none_of_ours(stub: StubApiServer, api: KubeApi) -> None:
    stub.state.review_statuses["tokenreviews"] = {"authenticated": True, "user": {"username": "ann"}}
    assert api.token_review("secret", ["masterjob"]) is None
    assert api.token_review("secret") == UserInfo("ann")


def test_the_clusters_rights_decide_who_may_do_what(stub: StubApiServer, api: KubeApi) -> None:
    ann = UserInfo("ann", "7", ("ops",), {"scopes": ["x"]})
    stub.state.review_statuses["subjectaccessreviews"] = {"allowed": True}
    assert api.subject_access_review(ann, "patch", "default", "report")
    (request,) = [each for each in stub.requests("POST") if each.path.endswith("subjectaccessreviews")]
    expected_attributes = {"group": "masterjob.io", "version": "v1alpha1", "resource": "masterjobs"}
    assert request.body["spec"] == {
        "user": "ann",
        "uid": "7",
        "groups": ["ops"],
        "extra": {"scopes": ["x"]},
        "resourceAttributes": {**expected_attributes, "verb": "patch", "namespace": "default", "name": "report"},
    }
    stub.state.review_statuses["subjectaccessreviews"] = {"allowed": False, "denied": True}
    assert not api.subject_access_review(ann, "patch", "default", "report", "status")


# --- configuration


def test_a_token_that_the_kubelet_replaces_is_read_again(stub: StubApiServer, api: KubeApi, folder: Path) -> None:
    stub.state.required_token = "second"
    with pytest.raises(ApiUnavailable, match="401"):
        api.list(None)
    (folder / "token").write_text("second\n")
    assert api.list(None) == []
    (folder / "token").unlink()
    with pytest.raises(ApiUnavailable):
        api.list(None)


def test_no_token_is_in_a_repr(api: KubeApi) -> None:
    assert "first" not in repr(api.config)
    assert api.config.authorization_header() == "Bearer first"


def test_a_pod_uses_its_service_account(folder: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    access = config_module.load_config(None, None, environ, folder)
    assert (access.server, access.namespace) == ("https://10.0.0.1:6443", "home")
    assert (
        config_module.load_in_cluster({**environ, "KUBERNETES_SERVICE_HOST": "fd00::1"}, folder).server
        == "https://[fd00::1]:6443"
    )


def kubeconfig(path: Path, **user: str) -> Path:
    ca_data = base64.b64encode(b"an authority").decode()
    document = {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "home"}},
            {"name": "there", "context": {"cluster": "d", "user": "u"}},
        ],
        "clusters": [
            {"name": "c", "cluster": {"server": "https://here:6443", "certificate-authority-data": ca_data}},
            {"name": "d", "cluster": {"server": "http://there"}},
        ],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_kubeconfig_that_is_named_is_used_even_in_a_pod(folder: Path, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", token="secret")
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    access = config_module.load_config(str(path), None, environ, folder)
    assert (access.server, access.namespace) == ("https://here:6443", "home")
    assert access.authorization_header() == "Bearer secret"
    other = config_module.load_config(str(path), "there", environ, folder)
    assert (other.server, other.namespace) == ("http://there", None)


def test_elsewhere_the_usual_kubeconfig_is_used(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", token="secret")
    assert config_module.load_config(None, None, {"KUBECONFIG": str(path)}, tmp_path).server == "https://here:6443"


def test_everybody_in_a_cluster_has_the_same_cluster_id(folder: Path, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", token="secret")
    here, without_ca = config_module.load_kubeconfig(str(path)), config_module.load_kubeconfig(str(path), "there")
    assert config_module.load_service_account("https://10.0.0.1", folder).cluster_id == here.cluster_id
    assert len(here.cluster_id) == 12
    assert without_ca.cluster_id == ""  # without a certificate authority, the cluster is not identified


def test_a_missing_config_is_reported_in_a_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "config"
    with pytest.raises(
        SettingError,
        match=r"no cluster is given, and this process does not run in a pod: kubeconfig .* does not exist",
    ):
        config_module.load_config(None, None, {"KUBECONFIG": str(missing)}, tmp_path)
    with pytest.raises(SettingError, match=r"^kubeconfig .* does not exist"):
        config_module.load_config(str(missing), None, {}, tmp_path)
    with pytest.raises(SettingError, match=r"cannot be used: .*nowhere"):
        config_module.load_config(str(kubeconfig(missing, token="secret")), "nowhere", {}, tmp_path)
    missing.write_text("token: [secret")
    with pytest.raises(SettingError, match=r"is not YAML$"):
        config_module.load_config(str(missing), None, {}, tmp_path)
    with pytest.raises(SettingError, match="KUBERNETES_SERVICE_HOST is not set"):
        config_module.load_in_cluster({}, tmp_path)
    with pytest.raises(SettingError, match="token cannot be read: No such file"):
        config_module.load_service_account("https://10.0.0.1", tmp_path)
