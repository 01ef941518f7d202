"""The resource MasterJob: what a manifest may say, and what is said about a wrong one."""

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


def test_a_manifest_of_the_least_is_enabled_and_runs_the_job_of_its_locks_name() -> None:
    assert parse_manifest(manifest(), format_field_path) == Resource(
        name="report", lock_name="REPORT", job="REPORT"
    )
    assert parse_manifest(manifest(), format_field_path).key == "default/report"


def test_everything_that_a_manifest_may_say_is_read() -> None:
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
        ({"lockName": 7}, "spec.lockName: it must be text, not 7"),
        ({"lockName": " x"}, "spec.lockName: ' x' must not contain"),
        ({"lockNam": "x"}, "spec.lockNam is not known: is lockName meant?"),
        ({"enabled": "no"}, "spec.enabled: it must be true or false, not 'no'"),
        ({"disabledReason": True}, "spec.disabledReason: it must be text, not true"),
        ({"disabledReason": "x" * 1001}, "spec.disabledReason: it has 1001 characters: 1000 are the most"),
        ({"job": " "}, "spec.job: it must name one of the jobs"),
        ({"heartbeatInterval": 8000}, "spec.heartbeatInterval: 8000 is not a duration: write it like"),
        ({"heartbeatInterval": "8000"}, "spec.heartbeatInterval: '8000' is not a duration: write it like"),
        ({"stopTimeout": ["1s"]}, "spec.stopTimeout: a list is not a duration"),
        ({"maxHeartbeatRetryCount": "3"}, "spec.maxHeartbeatRetryCount: '3' is not a whole number"),
        ({"lostPolicy": "pray"}, "spec.lostPolicy: 'pray' is not a lostPolicy: it must be stop or exit"),
    ],
)
def test_a_field_of_the_spec_that_is_wrong_is_named_with_what_would_do(spec: dict[str, Any], message: str) -> None:
    assert error_of(manifest(**spec)).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"apiVersion": "v1"}, "apiVersion is 'v1': it must be masterjob.io/v1alpha1"),
        ({"apiVersion": None}, "apiVersion is missing: it must be masterjob.io/v1alpha1"),
        ({"kind": "Masterjob"}, "kind is 'Masterjob': it must be MasterJob"),
        ({"metadata": None}, "metadata is missing"),
        ({"metadata": {"name": "Report"}}, "metadata.name: 'Report' must be lower case"),
        ({"metadata": {"name": "r", "namespace": "a.b"}}, "metadata.namespace: 'a.b' must be lower case"),
        ({"metadata": {"name": "r", "label": {}}}, "metadata.label is not known: is labels meant?"),
        ({"spec": None}, "spec is missing"),
        ({"spec": []}, "spec must hold names and values"),
        ({"specs": {}}, "specs is not known: is spec meant?"),
    ],
)
def test_what_stands_around_the_spec_is_checked_too(change: dict[str, Any], message: str) -> None:
    assert error_of(manifest() | change).startswith(message)


def test_two_resources_that_say_the_same_are_equal_wherever_they_were_written() -> None:
    assert parse_manifest(manifest(), format_field_path) == parse_manifest(manifest(), lambda path: "elsewhere")


def test_an_error_of_a_file_begins_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "report.yaml"
    path.write_text(
        "apiVersion: masterjob.io/v1alpha1\nkind: MasterJob\nmetadata: {name: report}\n"
        "spec:\n  lockName: REPORT\n  leaseDuration: soon\n"
    )
    document = read_document(path, "report.yaml")
    with pytest.raises(SettingError, match=r"^report.yaml line 6: spec.leaseDuration: 'soon' is not a duration"):
        parse_manifest(document.data(), document.locate)
