"""The rules of kstatus, by which Flux, Helm and kpt wait for a resource; and the invariants of every status.

Source: sigs.k8s.io/cli-utils, pkg/kstatus: generation, then the abnormal conditions, then Ready.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from masterjob.kube.status.conditions import ALLOWED_REASONS, ConditionReason, ConditionType, find_condition

REQUIRED_CONDITIONS = (
    ConditionType.READY,
    ConditionType.ELECTED,
    ConditionType.ENABLED,
    ConditionType.JOB_RUNNING,
)

EXPECTED_KSTATUS = {
    ConditionReason.ELECTED: "Current",
    ConditionReason.DISABLED: "Current",
    ConditionReason.VACANT: "InProgress",
    ConditionReason.STOPPING: "InProgress",
    ConditionReason.DATABASE_UNAVAILABLE: "InProgress",
    ConditionReason.CONFLICT: "Failed",
    ConditionReason.INVALID: "Failed",
    ConditionReason.UNKNOWN_JOB: "Failed",
}
"""The kstatus of each reason of `Ready`."""


def kstatus(body: Mapping[str, Any]) -> str:
    """Return the kstatus of an object."""
    status = body.get("status", {})
    if "deletionTimestamp" in body["metadata"]:
        return "Terminating"
    if status.get("observedGeneration", body["metadata"]["generation"]) != body["metadata"]["generation"]:
        return "InProgress"
    if find_condition(status, ConditionType.RECONCILING).get("status") == "True":
        return "InProgress"
    if find_condition(status, ConditionType.STALLED).get("status") == "True":
        return "Failed"
    return (
        "Current" if find_condition(status, ConditionType.READY).get("status", "True") == "True" else "InProgress"
    )


def check_versions(versions: Sequence[Mapping[str, Any]]) -> None:
    """Check the invariants of every version of an object; the oldest comes first."""
    written = [body for body in versions if body.get("status")]
    for body in written:
        _check_version(body)
    masters = {
        (body["status"]["term"], body["status"]["master"]["instance"]) for body in written if _has_master(body)
    }
    assert len(dict(masters)) == len(masters), "a term has one master"
    for before, after in pairwise(written):
        if before["metadata"]["uid"] == after["metadata"]["uid"]:
            _check_transition(before["status"], after["status"])


def _has_master(body: Mapping[str, Any]) -> bool:
    return "master" in body["status"]


def _check_version(body: Mapping[str, Any]) -> None:
    status = body["status"]
    conditions = {each["type"]: each for each in status["conditions"]}
    assert set(REQUIRED_CONDITIONS) <= conditions.keys() <= set(ConditionType), status
    for condition_type, condition in conditions.items():
        assert condition["reason"] in ALLOWED_REASONS[ConditionType(condition_type)], condition
        assert condition["observedGeneration"] <= status["observedGeneration"], status
    assert status["observedGeneration"] <= body["metadata"]["generation"], body
    current = status["observedGeneration"] == body["metadata"]["generation"]
    expected = (
        EXPECTED_KSTATUS[ConditionReason(conditions[ConditionType.READY]["reason"])] if current else "InProgress"
    )
    assert kstatus(body) == expected, body
    if conditions[ConditionType.ELECTED]["status"] == "True":
        assert "master" in status, status
    if "disabled" in status:
        assert conditions[ConditionType.ENABLED]["status"] == "False", status
    elif (
        conditions[ConditionType.ENABLED]["status"] == "False"
    ):  # the database does not have the disable yet, or has lost it
        assert conditions[ConditionType.READY]["reason"] == ConditionReason.STOPPING, status


def _check_transition(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    assert after["term"] >= before["term"], (before, after)
    assert after["transitions"] >= before["transitions"], (before, after)
    assert after["observedGeneration"] >= before["observedGeneration"], (before, after)
    for condition_type in REQUIRED_CONDITIONS:
        old_condition, new_condition = (
            find_condition(before, condition_type),
            find_condition(after, condition_type),
        )
        if old_condition["status"] == new_condition["status"]:
            assert old_condition["lastTransitionTime"] == new_condition["lastTransitionTime"], (
                old_condition,
                new_condition,
            )
