"""Manifests of MasterJobs: what they may contain, and the errors."""

from pathlib import Path
from typing import Any

import pytest

from masterjob.config.documents import format_field_path, read_document
from masterjob.errors import SettingError
from masterjob.resource.manifest import parse_manifest
from masterjob.resource.masterjob import Resource


def manifest(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "masterjob.io/v1alpha1",
        "kind": "MasterJob",
        "metadata": {"name": "report"},
        "spec": {"lockName": "REPORT", **spec},
    }


def error_of(document: object) -> str:
    with pytest.raises(SettingError) as caught:
        parse_manifest(document, format_field_path)
    return str(caught.value)


def test_a_minimal_manifest_is_enabled_and_runs_the_job_with_the_name_of_its_lock() -> None:
    assert parse_manifest(manifest(), format_field_path) == Resource(
        name="report", lock_name="REPORT", job="REPORT"
    )
    assert parse_manifest(manifest(), format_field_path).key == "default/report"


def test_every_field_of_a_manifest_is_read() -> None:
    given = manifest(
        enabled=False,
        disabledReason=" moving ",
        job="make-report",
        heartbeatInterval="1m30s",
        maxHeartbeatRetryCount=5,
        lostPolicy="exit",
    )
    given["metadata"] |= {"namespace": "shop", "labels": {"a": "b"}, "annotations": {"c": "d"}, "uid": "x"}
    given["status"] = {"anything": ["goes"]}
    resource = parse_manifest(given, format_field_path)
    assert (resource.key, resource.enabled, resource.disabled_reason) == ("shop/report", False, "moving")
    assert resource.job == "make-report"
    assert resource.options == {
        "heartbeat_interval": "1m30s",
        "max_heartbeat_retry_count": 5,
        "lost_policy": "exit",
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"lockName": None}, "spec.lockName is missing"),
        ({"lockName": 7}, "spec.lockName must be text, not a number: put it in quotes"),
        ({"lockName": " x"}, "spec.lockName must not be empty, begin or end with whitespace"),
        ({"lockNam": "x"}, "spec.lockNam is not known: did you mean lockName?"),
        ({"enabled": "no"}, "spec.enabled must be true or false, not 'no'"),
        ({"disabledReason": True}, "spec.disabledReason must be text, not a boolean"),
        ({"disabledReason": "x" * 1001}, "spec.disabledReason has 1001 characters; at most 1000 are allowed"),
        ({"job": " "}, "spec.job must name one of the jobs"),
        (
            {"heartbeatInterval": 8000},
            "spec.heartbeatInterval must be from 0s to ten years, written like 500ms, 30s or 1m30s, not 8000",
        ),
        (
            {"heartbeatInterval": "8000"},
            "spec.heartbeatInterval must be from 0s to ten years, written like 500ms, 30s or 1m30s, not '8000'",
        ),
        (
            {"stopTimeout": ["1s"]},
            "spec.stopTimeout must be from 0s to ten years, written like 500ms, 30s or 1m30s, not a list",
        ),
        ({"maxHeartbeatRetryCount": "3"}, "spec.maxHeartbeatRetryCount must be a whole number, not '3'"),
        ({"lostPolicy": "pray"}, "spec.lostPolicy must be stop or exit, not 'pray'"),
    ],
)
def test_an_error_in_the_spec_names_the_field_and_the_fix(spec: dict[str, Any], message: str) -> None:
    assert error_of(manifest(**spec)).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"apiVersion": "v1"}, "apiVersion must be masterjob.io/v1alpha1, not 'v1'"),
        ({"apiVersion": None}, "apiVersion is missing"),
        ({"kind": "Masterjob"}, "kind must be MasterJob, not 'Masterjob'"),
        ({"metadata": None}, "metadata.name is missing"),
        ({"metadata": {"name": "Report"}}, "metadata.name must be lower-case letters"),
        ({"metadata": {"name": "r", "namespace": "a.b"}}, "metadata.namespace must be lower-case letters"),
        ({"metadata": {"name": "r", "label": {}}}, "metadata.label is not known: did you mean labels?"),
        ({"spec": None}, "spec.lockName is missing"),
        ({"spec": []}, "spec must hold names and values"),
        ({"specs": {}}, "specs is not known: did you mean spec?"),
    ],
)
def test_the_fields_around_the_spec_are_checked_too(change: dict[str, Any], message: str) -> None:
    assert error_of(manifest() | change).startswith(message)


def test_resources_with_equal_fields_are_equal_wherever_they_were_written() -> None:
    assert parse_manifest(manifest(), format_field_path) == parse_manifest(manifest(), lambda path: "elsewhere")


def test_an_error_in_a_file_begins_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "report.yaml"
    path.write_text(
        "apiVersion: masterjob.io/v1alpha1\nkind: MasterJob\nmetadata: {name: report}\n"
        "spec:\n  lockName: REPORT\n  leaseDuration: soon\n"
    )
    document = read_document(path, "report.yaml")
    with pytest.raises(
        SettingError, match=r"^report.yaml line 6: spec.leaseDuration must be from 0s to ten years"
    ):
        parse_manifest(document.data, document.locate)
