"""The guarantees for MasterJobs, in a real cluster. The tests depend on this order."""

import json

import pytest
import urllib3

from tests.chart.helm import ROOT
from tests.e2e.cluster import CRD_NAME, LOCKS, Cluster
from tests.e2e.record import gaps

pytestmark = pytest.mark.timeout(600)

HANDOVER_LIMIT = 1.0
LEASE, HEARTBEAT, WRITE_INTERVAL = 5.0, 1.0, 0.5
"""The timing in values.yaml, and the write interval of the job."""


def test_each_job_runs_in_one_pod_and_kubectl_names_it(cluster: Cluster) -> None:
    for lock_name in LOCKS:
        status = cluster.status(lock_name.lower())
        last_record = cluster.master(lock_name)
        assert (status["master"]["pod"], status["term"]) == (last_record.pod, last_record.term)
        assert status["master"]["node"] == cluster.pods()[last_record.pod]["spec"]["nodeName"]
    assert "Running" in cluster.kubectl("get", "mj", "alpha")


def test_kubectl_patch_stops_a_job_with_a_reason_and_starts_it_again(cluster: Cluster) -> None:
    before = cluster.master("ALPHA")
    off = {"spec": {"enabled": False, "disabledReason": "the disk is full"}}
    cluster.kubectl("patch", "mj", "alpha", "--type=merge", f"--patch={json.dumps(off)}")
    cluster.kubectl("wait", "--for=condition=Enabled=false", "mj/alpha", "--timeout=120s")
    cluster.wait(lambda: cluster.master("ALPHA").event == "stop", "the job to stop")
    assert "the disk is full" in cluster.kubectl("get", "mj", "alpha")
    assert cluster.status("alpha")["disabled"]["reason"] == "the disk is full"
    cluster.kubectl("patch", "mj", "alpha", "--type=merge", '--patch={"spec":{"enabled":true}}')
    assert cluster.wait_next_term(before)[-1].term > before.term


def test_the_roles_of_the_cluster_decide_who_may_use_the_api(cluster: Cluster) -> None:
    users = (ROOT / "deploy" / "rbac" / "api-users.yaml").read_text()
    users = users.replace("namespace: masterjob}", f"namespace: {cluster.namespace}}}")
    cluster.kubectl("apply", "-f", "-", stdin=users)
    tokens = {
        role: cluster.kubectl("create", "token", f"masterjob-{role}").strip() for role in ("reader", "switch")
    }
    disable = {"lockName": "BETA", "reason": "over HTTP"}
    with (
        cluster.port_forward("svc/masterjob", 3000) as url,
        urllib3.PoolManager(retries=False, timeout=15) as pool,
    ):

        def request_status(path: str, token: str | None = None, body: object = None) -> int:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            return pool.request("GET" if body is None else "POST", url + path, headers=headers, json=body).status

        assert request_status("/api/MasterLocks") == 401
        assert request_status("/api/MasterLocks", "unknown-token") == 401
        assert request_status("/api/MasterLocks/BETA", tokens["reader"]) == 200
        assert request_status("/api/MasterControls/disable", tokens["reader"], disable) == 403
        assert request_status("/api/MasterControls/disable", tokens["switch"], disable) == 200
        cluster.wait(lambda: cluster.master("BETA").event == "stop", "the job to stop")
        assert request_status("/api/MasterControls/enable", tokens["switch"], {"lockName": "BETA"}) == 200
    cluster.kubectl("wait", "--for=condition=JobRunning", "mj/beta", "--timeout=120s")
    cluster.kubectl("delete", "-f", "-", stdin=users)


def test_a_pod_that_is_deleted_hands_over_within_a_second(cluster: Cluster) -> None:
    before = cluster.master("ALPHA")
    cluster.kubectl("delete", "pod", before.pod, "--wait=false")
    (gap, *_) = gaps(cluster.wait_next_term(before))
    assert gap.is_graceful
    assert gap.after.pod != before.pod
    assert gap.seconds < HANDOVER_LIMIT


def test_a_killed_process_is_replaced_within_the_lease(cluster: Cluster) -> None:
    before = cluster.master("ALPHA")
    cluster.kill_process(before.pod)
    (gap, *_) = gaps(cluster.wait_next_term(before))
    assert not gap.is_graceful
    assert gap.seconds < LEASE + HEARTBEAT + HANDOVER_LIMIT + WRITE_INTERVAL


def test_a_node_that_is_drained_hands_over_within_a_second(cluster: Cluster) -> None:
    if len(cluster.nodes()) < 2:
        pytest.skip("this cluster has one node that takes pods: there is nowhere to drain it to")
    before = cluster.master("ALPHA")
    node = cluster.pods()[before.pod]["spec"]["nodeName"]
    drain_options = ("--pod-selector=app.kubernetes.io/name=masterjob", "--delete-emptydir-data", "--timeout=120s")
    try:
        cluster.kubectl("drain", node, *drain_options)
        found = gaps(cluster.wait_next_term(before))
        assert all(gap.is_graceful for gap in found)
        assert max(gap.seconds for gap in found) < HANDOVER_LIMIT
        assert node not in {each["spec"]["nodeName"] for each in cluster.pods().values()}
    finally:
        cluster.kubectl("uncordon", node)


def test_a_restart_of_the_database_is_survived_by_all(cluster: Cluster) -> None:
    pods = set(cluster.pods())
    cluster.restart_database()
    cluster.wait_running()
    assert set(cluster.pods()) == pods
    assert all(
        each["status"]["containerStatuses"][0]["restartCount"] <= 1 for each in cluster.pods().values()
    )  # one was killed above; none ended because the database was down


def test_an_upgrade_of_the_chart_hands_every_job_over_within_a_second(cluster: Cluster) -> None:
    before = {lock_name: cluster.master(lock_name) for lock_name in LOCKS}
    old = set(cluster.pods())
    cluster.install("--set", "config.checkMasterInterval=6s")
    assert not old & set(cluster.pods())
    for row in before.values():
        found = gaps(cluster.wait_next_term(row))
        assert all(gap.is_graceful for gap in found)
        assert max(gap.seconds for gap in found) < HANDOVER_LIMIT


def test_an_uninstall_stops_the_jobs_and_leaves_nothing_but_the_definition(cluster: Cluster) -> None:
    cluster.run("helm", "uninstall", "masterjob", "--wait", "--timeout", "120s")
    cluster.kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=masterjob", "--timeout=120s")
    assert {cluster.master(lock_name).event for lock_name in LOCKS} == {"stop"}
    kinds = "all,configmaps,serviceaccounts,secrets,roles,rolebindings,poddisruptionbudgets,masterjobs"
    remaining = cluster.kubectl("get", kinds, "-l", "app.kubernetes.io/instance=masterjob", "-o", "name").split()
    cluster_wide = cluster.kubectl("get", "clusterroles,clusterrolebindings,crd", "-o", "name").split()
    remaining += [name for name in cluster_wide if cluster.namespace in name or CRD_NAME in name]
    assert remaining == [f"customresourcedefinition.apiextensions.k8s.io/{CRD_NAME}"]
    assert cluster.sql("SELECT lock_name FROM master_lock WHERE holder IS NOT NULL") == []
