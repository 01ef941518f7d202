"""The CRD of MasterJob on a real API server, with the real kubectl."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from masterjob.config.documents import format_field_path, read_document
from masterjob.config.settings import resolve_settings
from masterjob.errors import SettingError
from masterjob.resource import manifest as manifest_module
from masterjob.resource.manifest import parse_manifest
from masterjob.resource.masterjob import DURATION_FIELDS
from tests.envtest.control_plane import ControlPlane
from tests.envtest.daemons import ApiResponse
from tests.kube.conftest import API_PATH, CRDS
from tests.kube.kstatus import kstatus

SAMPLES = sorted(CRDS.glob("samples/*.yaml"))
MOST_PERMISSIVE = {"heartbeat_interval": "100ms", "stop_timeout": "0s"}
"""The controller settings that allow the shortest lease."""


def manifest(name: str = "report", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "masterjob.io/v1alpha1",
        "kind": "MasterJob",
        "metadata": {"name": name},
        "spec": {"lockName": "REPORT", **spec},
    }


def dry_run(cluster: ControlPlane, document: Mapping[str, Any]) -> ApiResponse:
    """Return the server's response to a manifest, which it does not store."""
    path = f"{API_PATH}/namespaces/default/masterjobs?dryRun=All&fieldValidation=Strict"
    return cluster.api.request("POST", path, document)


def is_accepted_by_parser(document: dict[str, Any]) -> bool:
    """Return whether a controller with some settings accepts the resource."""
    try:
        parsed = parse_manifest(document, format_field_path)
        resolve_settings({**MOST_PERMISSIVE, **parsed.options}, {}, None, require_database=False)
    except SettingError:
        return False
    return True


def definition() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((CRDS / "masterjobs.yaml").read_text())
    return document


def schema() -> dict[str, Any]:
    (version,) = definition()["spec"]["versions"]
    openapi_schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return openapi_schema


def schema_fields(parent: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every field of a schema, with its path."""
    for name, field in parent.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from schema_fields(field.get("items", field), f"{path}.{name}")


# --- accepted specs


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_a_sample_is_accepted_as_it_is_by_the_server_and_by_the_parser(
    cluster: ControlPlane, namespace: str, sample: Path
) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", str(sample))
    document = read_document(sample)
    parsed = parse_manifest(document.data, document.locate)
    stored = cluster.get_json("mj", parsed.name, "-n", namespace)
    assert parse_manifest(stored, format_field_path).options == parsed.options
    assert stored["spec"]["enabled"] == parsed.enabled


def test_only_enabled_has_a_default_so_that_the_settings_of_the_controller_count(cluster: ControlPlane) -> None:
    assert dry_run(cluster, manifest()).body["spec"] == {"lockName": "REPORT", "enabled": True}


def test_two_people_can_each_apply_their_own_part(cluster: ControlPlane, namespace: str) -> None:
    apply = ("apply", "--server-side", "-n", namespace, "-f", "-")
    deployer_fields = manifest(heartbeatInterval="5s")
    cluster.kubectl(*apply, "--field-manager=deployer", stdin=json.dumps(deployer_fields))
    operator_fields = manifest(enabled=False, disabledReason="moving the data")
    cluster.kubectl(*apply, "--field-manager=operator", stdin=json.dumps(operator_fields))
    assert cluster.get_json("mj", "report", "-n", namespace)["spec"] == {
        **deployer_fields["spec"],
        **operator_fields["spec"],
    }
    refused = cluster.kubectl(
        *apply, "--field-manager=third", stdin=json.dumps(manifest(enabled=True)), expect_failure=True
    )
    assert 'conflict with "operator": .spec.enabled' in refused.stderr


# --- refused specs

DURATION_HINT = "written like 500ms, 30s or 1m30s"
LEASE_RULE = "it must hold two heartbeats, the stop and 2% of itself"
LOCK_NAME_MESSAGE = "lockName must not be empty, begin or end with whitespace, or contain control characters"

REFUSED = [
    ({"lockName": None}, "spec.lockName: Required value"),
    ({"lockName": 7}, 'spec.lockName in body must be of type string: "integer"'),
    ({"lockName": ""}, LOCK_NAME_MESSAGE),
    ({"lockName": " x"}, LOCK_NAME_MESSAGE),
    ({"lockName": "x\u00a0"}, LOCK_NAME_MESSAGE),
    ({"lockName": "a\tb"}, LOCK_NAME_MESSAGE),
    ({"lockName": "a\x7f"}, LOCK_NAME_MESSAGE),
    ({"lockName": "x" * 201}, "spec.lockName: Too long: may not be more than 200"),
    ({"lockNam": "x"}, 'unknown field "spec.lockNam"'),
    ({"enabled": "no"}, 'spec.enabled in body must be of type boolean: "string"'),
    ({"disabledReason": "x" * 1001}, "spec.disabledReason: Too long: may not be more than 1000"),
    ({"job": " "}, "job must name one of the jobs that the controller knows, or be left out"),
    ({"job": ""}, "job must name one of the jobs that the controller knows, or be left out"),
    ({"job": "x" * 201}, "spec.job: Too long"),
    ({"heartbeatInterval": 8000}, 'spec.heartbeatInterval in body must be of type string: "integer"'),
    ({"heartbeatInterval": "8000"}, f"heartbeatInterval must be from 100ms to 1h, {DURATION_HINT}"),
    ({"heartbeatInterval": "0s"}, f"heartbeatInterval must be from 100ms to 1h, {DURATION_HINT}"),
    ({"heartbeatInterval": "99ms"}, f"heartbeatInterval must be from 100ms to 1h, {DURATION_HINT}"),
    ({"heartbeatInterval": "1h1ms"}, f"heartbeatInterval must be from 100ms to 1h, {DURATION_HINT}"),
    ({"heartbeatInterval": " 8s"}, f"heartbeatInterval must be from 100ms to 1h, {DURATION_HINT}"),
    ({"heartbeatInterval": "-8s"}, f"heartbeatInterval must be from 100ms to 1h, {DURATION_HINT}"),
    ({"leaseDuration": "24h1s"}, f"leaseDuration must be from 200ms to 24h, {DURATION_HINT}"),
    ({"leaseDuration": "1d"}, f"leaseDuration must be from 200ms to 24h, {DURATION_HINT}"),
    ({"leaseDuration": "soon"}, f"leaseDuration must be from 200ms to 24h, {DURATION_HINT}"),
    ({"stopTimeout": "61m"}, f"stopTimeout must be from 0s to 1h, {DURATION_HINT}"),
    ({"stopTimeout": ["1s"]}, 'spec.stopTimeout in body must be of type string: "array"'),
    ({"checkMasterInterval": "50ms"}, f"checkMasterInterval must be from 100ms to 24h, {DURATION_HINT}"),
    ({"checkMasterInterval": "9" * 60 + "h"}, f"checkMasterInterval must be from 100ms to 24h, {DURATION_HINT}"),
    ({"initDelay": "87601h"}, f"initDelay must be from 0s to ten years, {DURATION_HINT}"),
    ({"initDelay": "99999h" * 10}, f"initDelay must be from 0s to ten years, {DURATION_HINT}"),
    ({"initDelay": "0" * 64 + "s"}, "spec.initDelay: Too long: may not be more than 64"),
    ({"maxHeartbeatRetryCount": -1}, "spec.maxHeartbeatRetryCount in body should be greater than or equal to 0"),
    ({"maxHeartbeatRetryCount": 101}, "spec.maxHeartbeatRetryCount in body should be less than or equal to 100"),
    ({"maxHeartbeatRetryCount": "3"}, 'spec.maxHeartbeatRetryCount in body must be of type integer: "string"'),
    ({"lostPolicy": "pray"}, 'spec.lostPolicy: Unsupported value: "pray": supported values: "stop", "exit"'),
    (
        {"heartbeatInterval": "8s", "leaseDuration": "18s", "stopTimeout": "2s"},
        f"18s is too short for heartbeatInterval 8s and stopTimeout 2s: {LEASE_RULE}; use at least 18368ms",
    ),
    (
        {"heartbeatInterval": "5s", "leaseDuration": "10s"},
        f"for heartbeatInterval 5s and stopTimeout 0s or more: {LEASE_RULE}; use at least 10205ms",
    ),
    (
        {"leaseDuration": "2s", "stopTimeout": "2s"},
        f"for heartbeatInterval 100ms or more and stopTimeout 2s: {LEASE_RULE}; use at least 2245ms",
    ),
    (
        {"leaseDuration": "204ms"},
        f"for heartbeatInterval 100ms or more and stopTimeout 0s or more: {LEASE_RULE}; use at least 205ms",
    ),
]


@pytest.mark.parametrize(("spec", "sentence"), REFUSED)
def test_a_bad_spec_is_refused_with_what_is_wrong_and_by_the_parser_too(
    cluster: ControlPlane, spec: dict[str, Any], sentence: str
) -> None:
    answer = dry_run(cluster, manifest(**spec))
    assert answer.status in {400, 422}
    assert sentence in answer.body["message"]
    assert "resulted in error" not in answer.body["message"]
    assert not is_accepted_by_parser(manifest(**spec))


@pytest.mark.parametrize(
    "spec",
    [
        {"lockName": "x" * 200},
        {"lockName": "\u00fcber \U0001f512 all\u2003jobs\u200b"},
        {"enabled": None, "disabledReason": None, "job": None, "stopTimeout": None, "lostPolicy": None},
        {"disabledReason": ""},
        {"disabledReason": "\u00e4" * 1000},
        {"job": "reports:nightly"},
        {"heartbeatInterval": "100ms", "leaseDuration": "205ms", "stopTimeout": "0s"},
        {"heartbeatInterval": "8s", "leaseDuration": "18.368s", "stopTimeout": "2s"},
        {"heartbeatInterval": "49s", "leaseDuration": "100s", "stopTimeout": "0ms"},
        {"heartbeatInterval": "1h", "leaseDuration": "24h", "stopTimeout": "60m"},
        {"heartbeatInterval": "0.5m", "leaseDuration": "1m30s500ms", "stopTimeout": "1.5s"},
        {"leaseDuration": "205ms"},
        {"heartbeatInterval": "0" * 61 + "30s"},
        {"initDelay": "0s", "checkMasterInterval": "24h"},
        {"initDelay": "87600h"},
        {"initDelay": "315360000000ms"},
        {"maxHeartbeatRetryCount": 0},
        {"maxHeartbeatRetryCount": 100},
        {"lostPolicy": "exit"},
    ],
)
def test_a_valid_spec_is_accepted_by_the_server_and_by_the_parser(
    cluster: ControlPlane, spec: dict[str, Any]
) -> None:
    answer = dry_run(cluster, manifest(**spec))
    assert answer.status == 201, answer.body["message"]
    assert is_accepted_by_parser(manifest(**spec))


NUMBERS = st.sampled_from(
    ["0", "1", "2", "7", "50", "99", "100", "204", "205", "1000", "3600", "0.5", "1.25", "x"]
)
UNITS = st.sampled_from(["ms", "s", "m", "h", "d", ""])
TEXTS = st.lists(st.tuples(NUMBERS, UNITS), max_size=3).map(lambda parts: "".join(map("".join, parts)))
NAMES = st.text("aZ\u00fc \t\n\x00\x1c\x1f\x7f\x85\xa0\u180e\u2028\u200b\u3000\ufeff", min_size=1, max_size=3)


def durations(minimum: int, maximum: int) -> st.SearchStrategy[str]:
    """Return valid durations of ``milliseconds``, in different spellings."""
    milliseconds = st.integers(minimum, maximum)
    return st.one_of(milliseconds.map("{}ms".format), milliseconds.map(lambda number: f"{number / 1000:.3f}s"))


ANYTHING = st.one_of(
    st.fixed_dictionaries({"lockName": NAMES}, optional={"job": NAMES}),
    st.sampled_from(list(DURATION_FIELDS)).flatmap(lambda field: st.fixed_dictionaries({field: TEXTS})),
    st.fixed_dictionaries(
        {"leaseDuration": durations(180, 9000)},
        optional={
            "heartbeatInterval": durations(80, 4000),
            "stopTimeout": durations(0, 3000),
            "maxHeartbeatRetryCount": st.integers(-2, 102),
        },
    ),
)


@settings(
    max_examples=600, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(spec=ANYTHING)
def test_the_server_and_the_parser_agree(cluster: ControlPlane, spec: dict[str, Any]) -> None:
    answer = dry_run(cluster, manifest(**spec))
    assert (answer.status == 201) == is_accepted_by_parser(manifest(**spec)), answer.body.get("message", "taken")
    assert "resulted in error" not in answer.body.get("message", "")


def test_kubectl_prints_the_validation_message(cluster: ControlPlane, namespace: str) -> None:
    bad = json.dumps(manifest(leaseDuration="3s", heartbeatInterval="2s"))
    refused = cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=bad, expect_failure=True)
    assert "leaseDuration 3s is too short for heartbeatInterval 2s and" in refused.stderr


def test_kubectl_refuses_an_unknown_field(cluster: ControlPlane, namespace: str) -> None:
    bad = json.dumps(manifest(heartbeatIntervall="2s"))
    refused = cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=bad, expect_failure=True)
    assert 'unknown field "spec.heartbeatIntervall"' in refused.stderr


def test_the_lock_name_cannot_be_changed(cluster: ControlPlane, namespace: str) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(manifest()))
    patch = ("patch", "mj", "report", "-n", namespace, "--type=merge", "-p")
    refused = cluster.kubectl(*patch, '{"spec":{"lockName":"OTHER"}}', expect_failure=True)
    assert "lockName cannot be changed, make another MasterJob for another lock" in refused.stderr
    cluster.kubectl(*patch, '{"spec":{"enabled":false}}')


# --- columns and descriptions


def test_every_field_has_a_description_and_a_limit() -> None:
    for path, field in schema_fields(schema()):
        assert field.get("description") or path == ".metadata", f"{path} is not described"
        if field["type"] == "string" and path not in {".apiVersion", ".kind"}:
            assert field.keys() & {"maxLength", "enum", "format"}, f"{path} is not bounded"
        if field["type"] == "array":
            assert "maxItems" in field, f"{path} is not bounded"


def test_the_definition_and_the_parser_know_the_same_fields() -> None:
    spec = schema()["properties"]["spec"]
    assert set(spec["properties"]) == set(manifest_module._SPEC_FIELDS)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("spec", "The desired state: the lock, whether its job is enabled, and its timing."),
        ("spec.leaseDuration", "How long a master may be silent before it is replaced."),
        ("status", "The observed state: the master and its job, or why there is none."),
        ("status.job", "The last run of the job, as its master has reported it."),
        ("status.disabled", "Why the job must not run. Absent if it may."),
    ],
)
def test_kubectl_explains(cluster: ControlPlane, field: str, text: str) -> None:
    explained = cluster.kubectl("explain", f"mj.{field}").stdout
    assert text in re.sub(r"\s+", " ", explained)


CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Running",
    "message": "web-1 runs the job",
    "lastTransitionTime": "2026-11-21T22:22:22Z",
    "observedGeneration": 1,
}
STATUS = {
    "observedGeneration": 1,
    "term": 1795299734272,
    "transitions": 3,
    "master": {
        "instance": "web-1-4711-5e22a4f2",
        "pod": "web-1",
        "node": "n1",
        "address": "10.0.0.7",
        "since": "2026-11-21T22:22:22Z",
    },
    "job": {
        "name": "make-report",
        "phase": "Running",
        "since": "2026-11-21T22:22:27Z",
        "exitCode": -9,
        "restarts": 4,
        "consecutiveFailures": 0,
        "lastError": "signal 9",
    },
    "conditions": [CONDITION],
}


def patch_status(cluster: ControlPlane, namespace: str, status: Mapping[str, Any]) -> ApiResponse:
    path = f"{API_PATH}/namespaces/{namespace}/masterjobs/report/status?fieldValidation=Strict"
    return cluster.api.request("PATCH", path, {"status": status}, "application/merge-patch+json")


def table_row(table: str) -> dict[str, str]:
    """Return the only row of a table by its headings, each of which begins where its column does."""
    header, row = table.splitlines()
    starts = [match.start() for match in re.finditer(r"\S+", header)]
    bounds = list(zip(starts, [*starts[1:], None], strict=True))
    return {header[begin:end].strip(): row[begin:end].strip() for begin, end in bounds}


def test_the_table_names_the_master(cluster: ControlPlane, namespace: str) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(manifest()))
    assert patch_status(cluster, namespace, STATUS).status == 200
    row = table_row(cluster.kubectl("get", "mj", "-n", namespace).stdout)
    assert list(row) == ["NAME", "LOCK", "ENABLED", "STATE", "MASTER", "SINCE", "REASON", "AGE"]
    assert row["AGE"]
    assert re.fullmatch(r"\S+", row["SINCE"])
    assert {row[name] for name in ("LOCK", "ENABLED", "STATE", "MASTER")} == {"REPORT", "true", "Running", "web-1"}
    wide = table_row(cluster.kubectl("get", "mj", "-n", namespace, "-o", "wide").stdout)
    assert (wide["TERM"], wide["TRANSITIONS"]) == ("1795299734272", "3")
    assert (wide["JOB"], wide["NODE"], wide["RESTARTS"]) == ("make-report", "n1", "4")


def test_the_table_gives_the_reason_if_there_is_no_master(cluster: ControlPlane, namespace: str) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(manifest(enabled=False)))
    disabled = {
        "reason": "moving the data",
        "actor": "ann@web-1",
        "source": "api",
        "since": "2026-11-21T22:22:22Z",
    }
    ready = CONDITION | {"reason": "Disabled"}
    assert patch_status(cluster, namespace, {"disabled": disabled, "conditions": [ready]}).status == 200
    row = table_row(cluster.kubectl("get", "mj", "-n", namespace).stdout)
    assert (row["ENABLED"], row["STATE"], row["MASTER"]) == ("false", "Disabled", "")
    assert row["REASON"] == "moving the data"


# --- the status


def test_the_status_is_a_subresource_and_does_not_change_the_generation(
    cluster: ControlPlane, namespace: str
) -> None:
    given = {**manifest(), "status": STATUS}
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(given))
    made = cluster.get_json("mj", "report", "-n", namespace)
    assert kstatus(made) == "InProgress", "until there is a status"
    assert made["status"] == {"observedGeneration": -1}
    assert made["metadata"]["generation"] == 1
    patched = patch_status(cluster, namespace, STATUS).body
    assert (patched["status"], patched["metadata"]["generation"]) == (STATUS, 1)
    path = f"{API_PATH}/namespaces/{namespace}/masterjobs/report"
    change = {"spec": {"enabled": False}, "status": {"term": 7}}
    changed = cluster.api.request("PATCH", path, change, "application/merge-patch+json").body
    assert changed["metadata"]["generation"] == 2
    assert (changed["spec"]["enabled"], changed["status"]["term"]) == (False, STATUS["term"])


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ({"phase": "Running"}, 'unknown field "status.phase"'),
        ({"job": {"phase": "Elected"}}, 'status.job.phase: Unsupported value: "Elected"'),
        ({"conditions": [{"type": "Ready", "status": "True"}]}, "status.conditions[0].reason: Required value"),
        ({"conditions": [CONDITION] * 2}, "status.conditions[1]: Duplicate value"),
        ({"term": "7"}, 'term in body must be of type integer: "string"'),
    ],
)
def test_an_invalid_status_is_refused(
    cluster: ControlPlane, namespace: str, status: dict[str, Any], sentence: str
) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(manifest()))
    answer = patch_status(cluster, namespace, status)
    assert answer.status in {400, 422}
    assert sentence in answer.body["message"]


# --- field selectors


def test_resources_are_selected_by_enabled_and_by_lock_name(cluster: ControlPlane, namespace: str) -> None:
    both = manifest("on", lockName="A"), manifest("off", lockName="B", enabled=False)
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=yaml.safe_dump_all(both))
    command = ("get", "mj", "-n", namespace, "-o", "name", "--field-selector")
    assert cluster.kubectl(*command, "spec.enabled=false").stdout.split() == ["masterjob.masterjob.io/off"]
    assert cluster.kubectl(*command, "spec.lockName=A").stdout.split() == ["masterjob.masterjob.io/on"]


def test_installing_it_again_changes_nothing(cluster: ControlPlane) -> None:
    before = cluster.get_json("crd", "masterjobs.masterjob.io")["metadata"]["generation"]
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS / "masterjobs.yaml"))
    assert cluster.get_json("crd", "masterjobs.masterjob.io")["metadata"]["generation"] == before
