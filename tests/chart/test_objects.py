"""A real API server accepts the objects that the chart renders, and they have no more rights than needed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from masterjob.config.settings import load_config_document, resolve_settings
from masterjob.jobs.registry import known_jobs
from tests.chart.helm import ROOT, Helm, Manifest, Values, find_only, kinds
from tests.envtest.control_plane import ControlPlane

SERVER = {"replicaCount": 3, "database": {"existingSecret": "db"}}
REPORT = {"exec": {"command": ["sh", "-c", "make report"], "environment": {"LANG": "C"}, "directory": "/tmp"}}
SIDE_CAR = {
    "name": "application",
    "image": "shop:1",
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}

MATRIX: dict[str, Values] = {
    "nothing": {},
    "sqlite in a claim": {"persistence": {"enabled": True, "storageClass": "fast"}},
    "sqlite in a claim that is there": {"persistence": {"enabled": True, "existingClaim": "mine"}},
    "a server": SERVER,
    "two namespaces": {**SERVER, "watch": {"namespaces": ["default", "kube-public"]}},
    "all namespaces": {**SERVER, "watch": {"all": True}, "cluster": "blue"},
    "no api": {"api": {"enabled": False}},
    "tokens and tls": {"api": {"auth": "token", "tokensSecret": "tokens", "tlsSecret": "tls", "host": "::"}},
    "open": {"api": {"auth": "none", "allowedHosts": ["jobs.example.org"]}, "service": {"type": "NodePort"}},
    "monitored": {"metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}},
    "no definition, no roles, no account": {
        "crds": {"enabled": False},
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": "default"},
    },
    "jobs of all kinds": {
        "config": {"heartbeatInterval": "1s", "maxHeartbeatRetryCount": 5, "lostPolicy": "exit"},
        "jobs": {
            "report": REPORT,
            "remote": {
                "http": {
                    "start": "http://localhost:8099/start",
                    "stop": "http://localhost:8099/stop",
                    "timeout": "2s",
                    "retries": 2,
                    "headers": {"Authorization": {"file": "/run/secrets/token"}, "X-Team": "shop"},
                }
            },
            "cleaner": {"python": {"entry": "shop.jobs:cleaner"}},
        },
        "masterJobs": {
            "report": {"lockName": "REPORT", "job": "report", "heartbeatInterval": "1s", "stopTimeout": "500ms"},
            "cleaner": {"lockName": "CLEANER", "enabled": False, "disabledReason": "the disk is full"},
        },
    },
    "everything else": {
        **SERVER,
        "image": {
            "repository": "registry.example.org/jobs",
            "digest": "sha256:" + "0" * 64,
            "pullPolicy": "Always",
        },
        "imagePullSecrets": [{"name": "registry"}],
        "nameOverride": "mj",
        "fullnameOverride": "jobs",
        "service": {"type": "LoadBalancer", "port": 80, "annotations": {"a": "b"}},
        "serviceAccount": {"annotations": {"role": "arn"}},
        "crds": {"keep": False},
        "log": {"format": "text", "level": "debug"},
        "podDisruptionBudget": {"maxUnavailable": "50%"},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "rack",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "mj"}},
            }
        ],
        "resources": {"limits": {"memory": "1Gi"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "shop"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "batch", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "shareProcessNamespace": True,
        "extraArgs": ["--log-level=debug"],
        "extraEnv": [{"name": "TEAM", "value": "shop"}],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
        "extraVolumes": [{"name": "jobs", "configMap": {"name": "code"}}],
        "extraVolumeMounts": [{"name": "jobs", "mountPath": "/jobs"}],
        "extraInitContainers": [{**SIDE_CAR, "name": "first"}],
        "extraContainers": [SIDE_CAR],
    },
}

SERVICE_MONITOR_CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicemonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: ServiceMonitor, plural: servicemonitors, singular: servicemonitor}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [selector, endpoints]
              properties:
                selector:
                  type: object
                  properties: {matchLabels: {type: object, additionalProperties: {type: string}}}
                endpoints:
                  type: array
                  items:
                    type: object
                    properties: {port: {type: string}, path: {type: string}, interval: {type: string}}
"""
"""The part of the Prometheus operator's definition that the chart uses."""


@pytest.fixture(scope="module")
def cluster(plane: ControlPlane) -> ControlPlane:
    """A cluster that knows all kinds, with a namespace that enforces the Pod Security Standard `restricted`."""
    plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds" / "masterjobs.yaml"))
    plane.kubectl("apply", "-f", "-", stdin=SERVICE_MONITOR_CRD)
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")
    plane.kubectl("create", "namespace", "strict")
    plane.kubectl("label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted")
    plane.kubectl("create", "serviceaccount", "default", "-n", "strict")
    return plane


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_api_server_accepts_every_object_as_it_is(cluster: ControlPlane, helm: Helm, values: Values) -> None:
    objects = helm.template(values)
    manifests = yaml.safe_dump_all(objects)
    command = ("apply", "--server-side", "--force-conflicts", "--validate=strict", "--dry-run=server", "-f", "-")
    result = cluster.kubectl(*command, stdin=manifests)
    assert len(result.stdout.splitlines()) == len(objects)
    assert "unknown field" not in result.stderr


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_pods_meet_the_standard_restricted(cluster: ControlPlane, helm: Helm, values: Values) -> None:
    template = find_only(helm.template(values), "Deployment")["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": "one", "namespace": "strict"},
        "spec": {**template["spec"], "serviceAccountName": "default"},
    }
    cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(pod))


def test_a_pod_of_root_would_be_refused_there(cluster: ControlPlane, helm: Helm) -> None:
    template = find_only(helm.template({"podSecurityContext": {"runAsUser": 0}}), "Deployment")["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "namespace": "strict"}}
    manifest = yaml.safe_dump({**pod, "spec": {**template["spec"], "serviceAccountName": "default"}})
    result = cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=manifest, expect_failure=True)
    assert 'violates PodSecurity "restricted:latest"' in result.stderr


def test_releases_of_one_name_in_two_namespaces_have_no_name_in_common(helm: Helm) -> None:
    everywhere = {"watch": {"all": True}}
    first_release = helm.template(everywhere)
    helm.namespace = "other"
    second_release = helm.template(everywhere)
    cluster_wide = [
        {each["metadata"]["name"] for each in found if each["kind"].startswith("ClusterRole")}
        for found in (first_release, second_release)
    ]
    assert not cluster_wide[0] & cluster_wide[1]


# --- the definition


def crd_manifest() -> Manifest:
    manifest: Manifest = yaml.safe_load((ROOT / "crds" / "masterjobs.yaml").read_text())
    return manifest


def test_the_chart_has_the_definition_of_the_repository(helm: Helm) -> None:
    copy = ROOT / "charts" / "masterjob" / "files" / "masterjobs.yaml"
    assert copy.read_bytes() == (ROOT / "crds" / "masterjobs.yaml").read_bytes(), "make crds copies it"
    made = find_only(helm.template({}), "CustomResourceDefinition")
    assert made["spec"] == crd_manifest()["spec"]


@pytest.mark.parametrize(("keep", "policy"), [(True, "keep"), (False, None)])
def test_the_definition_is_kept_if_the_values_say_so(helm: Helm, keep: bool, policy: str | None) -> None:
    made = find_only(helm.template({"crds": {"keep": keep}}), "CustomResourceDefinition")["metadata"]
    assert made.get("annotations", {}).get("helm.sh/resource-policy") == policy


# --- the roles


def rules(objects: list[Manifest]) -> list[tuple[str, str, list[str]]]:
    """Return role kind, resource and verbs of all rules."""
    roles = [each for each in objects if each["kind"] in ("Role", "ClusterRole")]
    return [(role["kind"], *rule["resources"], rule["verbs"]) for role in roles for rule in role["rules"]]


NEEDED = [
    ("masterjobs", ["get", "list", "watch"]),
    ("masterjobs/status", ["patch"]),
    ("events", ["create"]),
]
REVIEWS = [("ClusterRole", "tokenreviews", ["create"]), ("ClusterRole", "subjectaccessreviews", ["create"])]


def test_the_roles_are_least_privilege(helm: Helm) -> None:
    assert sorted(rules(helm.template({}))) == sorted([("Role", *each) for each in NEEDED] + REVIEWS)


@pytest.mark.parametrize("api", [{"enabled": False}, {"auth": "none"}, {"auth": "token", "tokensSecret": "t"}])
def test_without_kubernetes_authentication_there_is_no_cluster_role(helm: Helm, api: Values) -> None:
    assert rules(helm.template({"api": api})) == [("Role", *each) for each in NEEDED]


def test_watching_all_namespaces_needs_a_cluster_role(helm: Helm) -> None:
    made = rules(helm.template({"watch": {"all": True}, "api": {"enabled": False}}))
    assert made == [("ClusterRole", *each) for each in NEEDED]


def test_each_namespace_has_a_role_of_its_own(helm: Helm) -> None:
    values = {"watch": {"namespaces": ["a", "b"]}, "api": {"enabled": False}}
    roles = [each for each in helm.template(values) if each["kind"] in ("Role", "RoleBinding")]
    assert [each["metadata"]["namespace"] for each in roles] == ["a", "b", "a", "b"]
    subjects = [each["subjects"][0]["namespace"] for each in roles if each["kind"] == "RoleBinding"]
    assert subjects == ["default", "default"]


@pytest.mark.parametrize(
    ("file", "values"),
    [("operator.yaml", {}), ("operator-all-namespaces.yaml", {"watch": {"all": True}})],
)
def test_the_plain_manifests_are_those_of_the_chart(helm: Helm, file: str, values: Values) -> None:
    helm.namespace = "masterjob"
    wanted = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    made = [each for each in helm.template(values) if each["kind"] in wanted]
    for each in made:
        del each["metadata"]["labels"]
    assert list(yaml.safe_load_all((ROOT / "deploy" / "rbac" / file).read_text())) == made


# --- pods


def environment(pod: Manifest) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in pod["containers"][0]["env"]}


def pod_of(helm: Helm, values: Values) -> Manifest:
    pod: Manifest = find_only(helm.template(values), "Deployment")["spec"]["template"]["spec"]
    return pod


def test_a_password_comes_from_the_secret_and_is_nowhere_else(helm: Helm) -> None:
    found = environment(pod_of(helm, SERVER))["MASTERJOB_DATABASE_URL"]
    assert found == {"secretKeyRef": {"name": "db", "key": "url"}}


def test_the_secret_can_be_mounted_so_that_a_rotated_password_needs_no_restart(helm: Helm) -> None:
    pod = pod_of(helm, {"database": {"existingSecret": "db", "key": "uri", "asFile": True}})
    assert "MASTERJOB_DATABASE_URL" not in environment(pod)
    assert environment(pod)["MASTERJOB_DATABASE_URL_FILE"] == "/etc/masterjob-database/uri"
    mounts = {each["name"]: each for each in pod["containers"][0]["volumeMounts"]}
    assert mounts["database"] == {"name": "database", "mountPath": "/etc/masterjob-database", "readOnly": True}
    assert {"name": "database", "secret": {"secretName": "db"}} in pod["volumes"]


def test_the_pod_knows_where_it_is(helm: Helm) -> None:
    found = environment(pod_of(helm, {}))
    assert {"POD_NAME", "POD_NAMESPACE", "POD_UID", "POD_IP", "NODE_NAME"} <= set(found)
    assert found["CONTAINER_NAME"] == "masterjob"


def test_another_configuration_rolls_the_pods(helm: Helm) -> None:
    def checksum(values: Values) -> str:
        template = find_only(helm.template(values), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum({"jobs": {"report": REPORT}}) != checksum({})
    assert checksum({"config": {"heartbeatInterval": "1s"}}) != checksum({})
    assert checksum({"masterJobs": {"a": {"lockName": "A"}}}) == checksum({})


def test_a_new_pod_takes_part_before_an_old_one_goes(helm: Helm) -> None:
    spec = find_only(helm.template(SERVER), "Deployment")["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert spec["minReadySeconds"] == 2


def test_two_pods_never_share_sqlite_not_even_during_an_upgrade(helm: Helm) -> None:
    assert find_only(helm.template({}), "Deployment")["spec"]["strategy"] == {"type": "Recreate"}


def test_a_budget_is_for_several_pods(helm: Helm) -> None:
    assert "PodDisruptionBudget" in kinds(helm.template(SERVER))
    assert "PodDisruptionBudget" not in kinds(helm.template({}))
    assert "PodDisruptionBudget" not in kinds(helm.template({**SERVER, "podDisruptionBudget": {"enabled": False}}))


def test_the_pods_are_spread_unless_the_values_disable_it(helm: Helm) -> None:
    spread = [each["topologyKey"] for each in pod_of(helm, SERVER)["topologySpreadConstraints"]]
    assert spread == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert "topologySpreadConstraints" not in pod_of(helm, {"topologySpread": {"enabled": False}})


def test_the_probes_use_the_probe_port(helm: Helm) -> None:
    container = pod_of(helm, {"probes": {"port": 4001}})["containers"][0]
    assert "--probe-port=4001" in container["args"]
    assert {"name": "probes", "containerPort": 4001} in container["ports"]
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    assert [(probe["path"], probe["port"]) for probe in probes] == [
        ("/healthz", "probes"),
        ("/healthz", "probes"),
        ("/readyz", "probes"),
    ]


def test_without_the_api_there_is_no_port_and_no_service_of_it(helm: Helm) -> None:
    objects = helm.template({"api": {"enabled": False}})
    assert "Service" not in kinds(objects)
    container = find_only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert "--no-api" in container["args"]
    assert [each["name"] for each in container["ports"]] == ["probes"]


def test_the_config_file_is_one_that_the_operator_reads(helm: Helm, tmp_path: Path) -> None:
    values = MATRIX["jobs of all kinds"]
    path = tmp_path / "config.yaml"
    path.write_text(find_only(helm.template(values), "ConfigMap")["data"]["config.yaml"])
    config = load_config_document({}, path)
    assert set(known_jobs(config)) >= set(values["jobs"])
    settings = resolve_settings({"database": "sqlite://"}, {}, config)
    assert (settings.timing.heartbeat_interval, settings.lost_policy) == (1.0, "exit")
