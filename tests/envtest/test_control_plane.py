"""The control plane of the tests: two real processes, and accounts with tokens."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import urllib3

from tests.envtest.control_plane import ControlPlane
from tests.timeouts import WAIT_TIMEOUT

START_AND_WAIT_SCRIPT = """
from tests.envtest.control_plane import ControlPlane
with ControlPlane() as plane:
    print(plane.api.pid, plane.etcd.pid, flush=True)
    input()
"""


def test_kubectl_and_the_server_are_of_one_version(control_plane: ControlPlane) -> None:
    versions = json.loads(control_plane.kubectl("version", "-o", "json").stdout)
    assert (
        versions["clientVersion"]["gitVersion"]
        == versions["serverVersion"]["gitVersion"]
        == f"v{control_plane.version}"
    )


def test_objects_survive_a_crash_of_the_server(control_plane: ControlPlane) -> None:
    namespace = control_plane.new_namespace()
    with control_plane.api.outage(signal.SIGKILL), pytest.raises(urllib3.exceptions.HTTPError):
        control_plane.api.get("/version")
    assert control_plane.get_json("namespace", namespace)["metadata"]["name"] == namespace


def test_a_frozen_server_answers_nothing_until_it_continues(control_plane: ControlPlane) -> None:
    with control_plane.api.frozen(), pytest.raises(urllib3.exceptions.HTTPError, match="timed out"):
        control_plane.api.get("/version")
    assert control_plane.api.get("/version")["gitVersion"]


def test_an_account_has_the_rights_of_its_rules_and_no_more(control_plane: ControlPlane) -> None:
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
    account = control_plane.kubeconfig_for("reader", rule)
    identity = control_plane.kubectl("auth", "whoami", "-o", "json", kubeconfig=account).stdout
    assert json.loads(identity)["status"]["userInfo"]["username"] == "system:serviceaccount:default:reader"
    assert control_plane.get_json("configmaps", "--all-namespaces", kubeconfig=account)["kind"] == "List"
    refused = control_plane.kubectl("get", "secrets", kubeconfig=account, expect_failure=True)
    assert 'cannot list resource "secrets"' in refused.stderr


def test_an_account_may_have_its_rights_in_its_own_namespace_only(control_plane: ControlPlane) -> None:
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    namespace = control_plane.new_namespace()
    account = control_plane.kubeconfig_for("reader", rule, namespace=namespace, cluster_wide=False)
    assert control_plane.get_json("configmaps", kubeconfig=account)["kind"] == "List"
    refused = control_plane.kubectl("get", "configmaps", "-A", kubeconfig=account, expect_failure=True)
    assert 'cannot list resource "configmaps"' in refused.stderr


def test_no_server_outlives_tests_that_were_killed(control_plane: ControlPlane) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT_SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None
        servers = [int(pid) for pid in tests.stdout.readline().split()]
        assert len(servers) == 2
        tests.kill()
    deadline = time.monotonic() + WAIT_TIMEOUT
    while any(map(_is_running, servers)):
        assert time.monotonic() < deadline, "a server still runs"
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # a zombie has ended
