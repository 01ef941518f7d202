"""What the API server is asked, and what its answers mean, on a stub that does wrong; and where it is."""

import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from masterjob.election.errors import SettingError
from masterjob.kube.api import client as module
from masterjob.kube.api import login
from masterjob.kube.api.answers import ApiRefused, ApiUnavailable, Changed, DefinitionMissing
from masterjob.kube.api.client import Api, Reviewed
from tests.kube.stub import Stub, answer, hang, reset
from tests.library.conftest import wait_until


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a service account."""
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_text("an authority\n")
    (tmp_path / "namespace").write_text("home")
    return tmp_path


@pytest.fixture
def api(stub: Stub, folder: Path) -> Iterator[Api]:
    api = Api(login.service_account(stub.url, folder))
    yield api
    api.close()


# --- lists and objects


def test_a_list_is_of_all_pages(stub: Stub, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 2)
    for name in ("a", "b", "c", "d", "e"):
        stub.put(name, lockName=name)
    assert [each["metadata"]["name"] for each in api.list(None)] == ["a", "b", "c", "d", "e"]
    assert stub.count("LIST") == 3


def test_a_list_that_is_out_of_date_before_its_end_begins_again(
    stub: Stub, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", 1)
    stub.put("a", lockName="A")
    stub.put("b", lockName="B")
    stub.fail_next("LIST", lambda _: False)
    stub.fail_next("LIST", answer(410))
    assert len(api.list(None)) == 2
    assert [asked.query.get("continue") for asked in stub.asked("LIST")] == [None, "1", None, "1"]


def test_a_list_is_of_one_namespace_or_of_all(stub: Stub, api: Api) -> None:
    stub.put("a", "one", lockName="A")
    stub.put("b", "two", lockName="B")
    assert [each["metadata"]["name"] for each in api.list("two")] == ["b"]
    assert len(api.list(None)) == 2


def test_an_unknown_type_is_not_an_empty_list(stub: Stub, api: Api) -> None:
    stub.world.defined = False
    with pytest.raises(DefinitionMissing):
        api.list(None)
    with pytest.raises(DefinitionMissing):
        api.get("default", "a")
    with pytest.raises(DefinitionMissing):
        api.patch_status("default", "a", "1", {})
    assert not api.served()


def test_discovery_tells_whether_the_type_is_served(stub: Stub, api: Api) -> None:
    assert api.served()
    stub.fail_next("DISCOVERY", answer(404))
    assert not api.served()


def test_an_object_that_is_not_there_is_none(stub: Stub, api: Api) -> None:
    stub.put("a", lockName="LOCK")
    found = api.get("default", "a")
    assert found is not None
    assert found["spec"] == {"lockName": "LOCK"}
    assert api.get("default", "b") is None
    assert api.patch_status("default", "b", "1", {}) is None


def test_a_status_replaces_the_whole_one_before_it(stub: Stub, api: Api) -> None:
    version = stub.put("a", lockName="LOCK")["metadata"]["resourceVersion"]
    first = api.patch_status("default", "a", version, {"term": 1, "master": {"pod": "p"}})
    assert first is not None
    second = api.patch_status("default", "a", first["metadata"]["resourceVersion"], {"term": 2})
    assert second is not None
    assert second["status"] == {"term": 2}
    assert stub.asked("PATCH")[0].query["fieldValidation"] == "Strict"


def test_a_status_for_another_version_is_not_written(stub: Stub, api: Api) -> None:
    version = stub.put("a", lockName="LOCK")["metadata"]["resourceVersion"]
    stub.put("a", lockName="LOCK", enabled=False)
    with pytest.raises(Changed):
        api.patch_status("default", "a", version, {"term": 1})


# --- what may go wrong


@pytest.mark.parametrize("status", [401, 408, 429, 500, 503, 504])
def test_an_answer_that_decides_nothing_is_unavailable(stub: Stub, api: Api, status: int) -> None:
    stub.fail_next("LIST", answer(status, "not now"))
    with pytest.raises(ApiUnavailable, match=f"the API server says: not now \\({status}\\)") as caught:
        api.list(None)
    assert caught.value.retry_after is None


def test_the_api_server_may_say_when_to_ask_again(stub: Stub, api: Api) -> None:
    stub.fail_next("LIST", answer(429, Retry_After="7"))
    with pytest.raises(ApiUnavailable) as caught:
        api.list(None)
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_refusal_is_told_with_its_status_and_words(stub: Stub, api: Api, status: int) -> None:
    stub.fail_next("PATCH", answer(status, "you may not"))
    with pytest.raises(ApiRefused, match="the API server says: you may not") as caught:
        api.patch_status("default", "a", "1", {})
    assert caught.value.status == status


def test_a_connection_that_breaks_is_unavailable(stub: Stub, api: Api) -> None:
    stub.fail_next("LIST", reset)
    with pytest.raises(ApiUnavailable, match=rf"{stub.url} gives no answer"):
        api.list(None)
    stub.down()
    with pytest.raises(ApiUnavailable, match="refused"):
        api.list(None)


def test_an_answer_that_does_not_come_is_unavailable(
    stub: Stub, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_TIMEOUT", 0.1)
    stub.fail_next("LIST", hang)
    with pytest.raises(ApiUnavailable, match="timed out"):
        api.list(None)


def test_an_answer_that_is_no_json_is_unavailable(stub: Stub, api: Api) -> None:
    def proxy(handler: Any) -> bool:
        handler.reply(200, "<html>a proxy</html>")
        return True

    stub.fail_next("LIST", proxy)
    with pytest.raises(ApiUnavailable):
        api.list(None)


def test_who_waits_for_an_answer_can_be_cut_off(stub: Stub, api: Api) -> None:
    caught: list[Exception] = []

    def ask() -> None:
        try:
            api.list(None)
        except ApiUnavailable as error:
            caught.append(error)

    api.list(None)  # so that the connection is not a new one
    stub.fail_next("LIST", hang)
    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: stub.count("LIST") == 2)
    assert thread.ident is not None
    api.cut(thread.ident)
    thread.join(20)
    assert caught
    assert api.list(None) == []


# --- Events and reviews


def test_an_event_is_created_once(stub: Stub, api: Api) -> None:
    body = {"metadata": {"name": "a.1", "namespace": "default"}, "reason": "Elected"}
    assert api.create_event("default", body)
    assert not api.create_event("default", body)
    assert stub.world.events["a.1"]["apiVersion"] == "events.k8s.io/v1"


def test_a_token_is_somebodys_or_nobodys(stub: Stub, api: Api) -> None:
    user = {"username": "ann", "uid": "7", "groups": ["ops"], "extra": {"scopes": ["x"]}}
    stub.world.reviews["tokenreviews"] = {"authenticated": True, "user": user, "audiences": ["masterjob"]}
    ann = Reviewed("ann", "7", ("ops",), {"scopes": ["x"]})
    assert api.token_review("secret", ["masterjob"]) == ann
    assert api.token_review("secret", ["another"]) is None
    stub.world.reviews["tokenreviews"] = {"authenticated": False, "user": user}
    assert api.token_review("secret") is None


def test_a_server_that_knows_no_audiences_says_nothing_of_ours(stub: Stub, api: Api) -> None:
    stub.world.reviews["tokenreviews"] = {"authenticated": True, "user": {"username": "ann"}}
    assert api.token_review("secret", ["masterjob"]) is None
    assert api.token_review("secret") == Reviewed("ann")


def test_the_clusters_rights_decide_who_may_do_what(stub: Stub, api: Api) -> None:
    ann = Reviewed("ann", "7", ("ops",), {"scopes": ["x"]})
    stub.world.reviews["subjectaccessreviews"] = {"allowed": True}
    assert api.subject_access_review(ann, "patch", "default", "report")
    (asked,) = [each for each in stub.asked("POST") if each.path.endswith("subjectaccessreviews")]
    wanted = {"group": "masterjob.io", "version": "v1alpha1", "resource": "masterjobs"}
    assert asked.body["spec"] == {
        "user": "ann",
        "uid": "7",
        "groups": ["ops"],
        "extra": {"scopes": ["x"]},
        "resourceAttributes": {**wanted, "verb": "patch", "namespace": "default", "name": "report"},
    }
    stub.world.reviews["subjectaccessreviews"] = {"allowed": False, "denied": True}
    assert not api.subject_access_review(ann, "patch", "default", "report", "status")


# --- the way there


def test_a_token_that_the_kubelet_replaces_is_read_again(stub: Stub, api: Api, folder: Path) -> None:
    stub.world.token = "second"
    with pytest.raises(ApiUnavailable, match="401"):
        api.list(None)
    (folder / "token").write_text("second\n")
    assert api.list(None) == []
    (folder / "token").unlink()
    with pytest.raises(ApiUnavailable):
        api.list(None)


def test_no_token_stands_in_what_can_be_shown(api: Api) -> None:
    assert "first" not in repr(api.access)
    assert api.access.authorization() == "Bearer first"


def test_a_pod_uses_its_service_account(folder: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    access = login.connect(None, None, environ, folder)
    assert (access.server, access.namespace) == ("https://10.0.0.1:6443", "home")
    assert (
        login.in_cluster({**environ, "KUBERNETES_SERVICE_HOST": "fd00::1"}, folder).server
        == "https://[fd00::1]:6443"
    )


def kubeconfig(path: Path, **user: str) -> Path:
    authority = base64.b64encode(b"an authority").decode()
    document = {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "home"}},
            {"name": "there", "context": {"cluster": "d", "user": "u"}},
        ],
        "clusters": [
            {"name": "c", "cluster": {"server": "https://here:6443", "certificate-authority-data": authority}},
            {"name": "d", "cluster": {"server": "http://there"}},
        ],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_kubeconfig_that_is_named_is_used_even_in_a_pod(folder: Path, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", token="secret")
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    access = login.connect(str(path), None, environ, folder)
    assert (access.server, access.namespace) == ("https://here:6443", "home")
    assert access.authorization() == "Bearer secret"
    other = login.connect(str(path), "there", environ, folder)
    assert (other.server, other.namespace) == ("http://there", None)


def test_elsewhere_the_usual_kubeconfig_is_used(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", token="secret")
    assert login.connect(None, None, {"KUBECONFIG": str(path)}, tmp_path).server == "https://here:6443"


def test_everybody_in_a_cluster_calls_it_the_same(folder: Path, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", token="secret")
    here, there = login.from_kubeconfig(str(path)), login.from_kubeconfig(str(path), "there")
    assert login.service_account("https://10.0.0.1", folder).cluster == here.cluster
    assert len(here.cluster) == 12
    assert there.cluster == ""  # it names no authority: only people can say which cluster it is


def test_a_missing_way_is_said_in_a_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "config"
    with pytest.raises(
        SettingError, match=r"no cluster is named and this is no pod: kubeconfig .* does not exist"
    ):
        login.connect(None, None, {"KUBECONFIG": str(missing)}, tmp_path)
    with pytest.raises(SettingError, match=r"^kubeconfig .* does not exist"):
        login.connect(str(missing), None, {}, tmp_path)
    with pytest.raises(SettingError, match=r"cannot be used: .*nowhere"):
        login.connect(str(kubeconfig(missing, token="secret")), "nowhere", {}, tmp_path)
    missing.write_text("token: [secret")
    with pytest.raises(SettingError, match=r"is not YAML$"):
        login.connect(str(missing), None, {}, tmp_path)
    with pytest.raises(SettingError, match="KUBERNETES_SERVICE_HOST is not set"):
        login.in_cluster({}, tmp_path)
    with pytest.raises(SettingError, match="token cannot be read: No such file"):
        login.service_account("https://10.0.0.1", tmp_path)
