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
    ConditionReason.RUNNING: "Current",
    ConditionReason.COMPLETED: "Current",
    ConditionReason.DISABLED: "Current",
    ConditionReason.STARTING: "InProgress",
    ConditionReason.START_FAILED: "InProgress",
    ConditionReason.VACANT: "InProgress",
    ConditionReason.STOPPING: "InProgress",
    ConditionReason.NOT_CONFIRMED: "InProgress",
    ConditionReason.DATABASE_UNAVAILABLE: "InProgress",
    ConditionReason.CONFLICT: "Failed",
    ConditionReason.INVALID: "Failed",
    ConditionReason.UNKNOWN_JOB: "Failed",
}
"""The kstatus of each reason of `Ready`, unless the resource is Stalled."""


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
    written = [body for body in versions if body["status"].get("conditions")]
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
    assert kstatus(body) == _expected_kstatus(body), body
    if conditions[ConditionType.ELECTED]["status"] == "True":
        assert "master" in status, status
    if "disabled" in status:
        assert conditions[ConditionType.ENABLED]["status"] == "False", status
    elif (
        conditions[ConditionType.ENABLED]["status"] == "False"
    ):  # the database does not have the disable yet, or has lost it
        assert conditions[ConditionType.READY]["reason"] == ConditionReason.STOPPING, status


def _expected_kstatus(body: Mapping[str, Any]) -> str:
    status = body["status"]
    if status["observedGeneration"] != body["metadata"]["generation"]:
        return "InProgress"
    if find_condition(status, ConditionType.STALLED):
        return "Failed"
    return EXPECTED_KSTATUS[ConditionReason(find_condition(status, ConditionType.READY)["reason"])]


def _check_transition(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    assert after["term"] >= before["term"], (before, after)
    assert after["transitions"] >= before["transitions"], (before, after)
    assert after["observedGeneration"] >= before["observedGeneration"], (before, after)
    for condition_type in REQUIRED_CONDITIONS:
        old_condition, new_condition = (
            find_condition(before, condition_type),
            find_condition(after, condition_type),
        )
        keeps_time = old_condition["status"] == new_condition["status"]
        if condition_type is ConditionType.READY and new_condition["status"] == "True":
            keeps_time = keeps_time and old_condition["reason"] == new_condition["reason"]
        if keeps_time:
            assert old_condition["lastTransitionTime"] == new_condition["lastTransitionTime"], (
                old_condition,
                new_condition,
            )
