"""The values of the chart: each has a comment and a schema, and impossible values are refused."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from masterjob.resource.masterjob import OPTION_FIELDS
from tests.chart.helm import CHART, ROOT, Helm, Values, find_only

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SERVER = {"database": {"existingSecret": "db"}}

PASSED_THROUGH = ("podSecurityContext", "securityContext", "resources")
"""Parts of the Kubernetes API that the chart passes on unchanged."""


def value_names(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{path}{name}"
        if isinstance(value, dict) and name not in PASSED_THROUGH:
            yield from value_names(value, f"{path}{name}.")


def schema_names(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, subschema in schema.get("properties", {}).items():
        yield f"{path}{name}"
        if name not in PASSED_THROUGH and name != "config":
            yield from schema_names(subschema, f"{path}{name}.")


def test_the_chart_passes_the_strict_lint(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART)


def test_the_versions_are_those_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    found = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert found is not None
    assert chart["appVersion"] == found[1]


def test_each_value_has_a_comment_of_one_line() -> None:
    lines = [line for line in (CHART / "values.yaml").read_text().splitlines()[1:] if line.strip()]
    bare = [line for line in lines if " # " not in line and not line.endswith(":")]  # a group needs no comment
    assert bare == []


def test_the_schema_has_exactly_the_values_of_the_chart() -> None:
    assert {*schema_names(SCHEMA)} - {"global"} == {*value_names(VALUES)}


def test_the_schema_has_exactly_the_options_of_the_resource() -> None:
    definition = yaml.safe_load((ROOT / "crds" / "masterjobs.yaml").read_text())
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert set(SCHEMA["definitions"]["masterJob"]["properties"]) == set(spec)
    assert set(SCHEMA["properties"]["config"]["properties"]) == set(OPTION_FIELDS)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"replicas": 3}, "replicas"),
        ({"image": {"tags": "1"}}, "tags"),
        ({"replicaCount": "3"}, "replicaCount"),
        ({"image": {"digest": "sha256:1"}}, "digest"),
        ({"database": {"url": "postgresql://ann:secret@host/db"}}, "url"),
        ({"config": {"database": "postgresql://ann:secret@host/db"}}, "database"),
        ({"config": {"heartbeatInterval": 8}}, "heartbeatInterval"),
        ({"config": {"heartbeatInterval": "eight seconds"}}, "heartbeatInterval"),
        ({"config": {"lostPolicy": "ignore"}}, "lostPolicy"),
        ({"jobs": {"report": {}}}, "report"),
        ({"jobs": {"report": {"exec": {"command": "make report"}}}}, "command"),
        ({"jobs": {"report": {"exec": {"command": ["a"]}, "python": {"entry": "a:b"}}}}, "report"),
        ({"jobs": {"report": {"http": {"start": "ftp://host/"}}}}, "start"),
        ({"masterJobs": {"report": {"job": "report"}}}, "lockName"),
        ({"masterJobs": {"report": {"lockName": "R", "command": ["rm"]}}}, "command"),
        ({"masterJobs": {"Report": {"lockName": "R"}}}, "Report"),
        ({"watch": {"namespaces": "default"}}, "namespaces"),
        ({"api": {"auth": "loopback"}}, "auth"),
        ({"api": {"port": 0}}, "port"),
        ({"log": {"level": "chatty"}}, "level"),
        ({"crds": {"keep": "yes"}}, "keep"),
        ({"extraEnv": {"A": "b"}}, "extraEnv"),
    ],
    ids=lambda given: json.dumps(given) if isinstance(given, dict) else "",
)
def test_an_unknown_name_or_a_wrong_type_is_refused(helm: Helm, values: Values, reason: str) -> None:
    message = helm.template_error(values)
    assert "values don't meet the specifications of the schema" in message
    assert reason in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"replicaCount": 3}, "replicaCount is 3, but without database.existingSecret the database is SQLite"),
        ({**SERVER, "persistence": {"enabled": True}}, "persistence.enabled is for SQLite"),
        ({"watch": {"all": True, "namespaces": ["a"]}}, "watch.all and watch.namespaces exclude each other"),
        (
            {"watch": {"namespaces": ["a"]}, "masterJobs": {"r": {"lockName": "R"}}},
            "masterJobs are created in the namespace default, which watch.namespaces does not contain",
        ),
        ({"api": {"auth": "token"}}, "api.auth token needs api.tokensSecret"),
        ({"api": {"tokensSecret": "t"}}, "api.tokensSecret needs api.auth token"),
        ({"api": {"port": 3001}}, "api.port and probes.port must differ"),
        ({"serviceAccount": {"create": False}}, "set serviceAccount.name to the account of the pods"),
    ],
)
def test_impossible_values_are_refused_with_an_explanation(helm: Helm, values: Values, sentence: str) -> None:
    assert sentence in helm.template_error(values)


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ({}, 17),
        ({"config": {"stopTimeout": "500ms"}}, 16),
        ({"config": {"stopTimeout": "1m30s"}}, 105),
        ({"masterJobs": {"a": {"lockName": "A", "stopTimeout": "2.5s"}, "b": {"lockName": "B"}}}, 18),
        ({"masterJobs": {"a": {"lockName": "A", "stopTimeout": "1h"}}}, 3615),
        ({"config": {"stopTimeout": "1m"}, "terminationGracePeriodSeconds": 40}, 40),
    ],
)
def test_the_grace_period_covers_the_longest_stop_timeout(helm: Helm, values: Values, seconds: int) -> None:
    pod = find_only(helm.template(values), "Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == seconds


def test_the_values_in_the_documentation_are_accepted(helm: Helm) -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    blocks = [
        yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]
    values = [block for block in blocks if not {"apiVersion", "initContainers"} & set(block)]
    assert len(values) == 3
    for each in values:
        assert helm.template(each)
