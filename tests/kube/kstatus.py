"""The rules of kstatus, by which Flux, Helm and kpt wait for a resource; and what every status has to keep.

Source: sigs.k8s.io/cli-utils, pkg/kstatus: generation, then the abnormal conditions, then Ready.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from masterjob.kube.status.conditions import REASONS, Kind, Reason, find

ALWAYS = (Kind.READY, Kind.ELECTED, Kind.ENABLED, Kind.JOB_RUNNING)

EXPECTED = {
    Reason.ELECTED: "Current",
    Reason.DISABLED: "Current",
    Reason.VACANT: "InProgress",
    Reason.STOPPING: "InProgress",
    Reason.DATABASE_UNAVAILABLE: "InProgress",
    Reason.CONFLICT: "Failed",
    Reason.INVALID: "Failed",
    Reason.UNKNOWN_JOB: "Failed",
}
"""What those tools make of each state that we tell."""


def kstatus(body: Mapping[str, Any]) -> str:
    """Return what those tools make of an object."""
    status = body.get("status", {})
    if "deletionTimestamp" in body["metadata"]:
        return "Terminating"
    if status.get("observedGeneration", body["metadata"]["generation"]) != body["metadata"]["generation"]:
        return "InProgress"
    if find(status, Kind.RECONCILING).get("status") == "True":
        return "InProgress"
    if find(status, Kind.STALLED).get("status") == "True":
        return "Failed"
    return "Current" if find(status, Kind.READY).get("status", "True") == "True" else "InProgress"


def judge(versions: Sequence[Mapping[str, Any]]) -> None:
    """Hold every version of an object, the oldest first, to what holds for all of them."""
    told = [body for body in versions if body.get("status")]
    for body in told:
        _judge_one(body)
    masters = {
        (body["status"]["term"], body["status"]["master"]["instance"]) for body in told if _has_master(body)
    }
    assert len(dict(masters)) == len(masters), "a term has one master"
    for before, after in pairwise(told):
        if before["metadata"]["uid"] == after["metadata"]["uid"]:
            _judge_step(before["status"], after["status"])


def _has_master(body: Mapping[str, Any]) -> bool:
    return "master" in body["status"]


def _judge_one(body: Mapping[str, Any]) -> None:
    status = body["status"]
    conditions = {each["type"]: each for each in status["conditions"]}
    assert set(ALWAYS) <= conditions.keys() <= set(Kind), status
    for kind, condition in conditions.items():
        assert condition["reason"] in REASONS[Kind(kind)], condition
        assert condition["observedGeneration"] <= status["observedGeneration"], status
    assert status["observedGeneration"] <= body["metadata"]["generation"], body
    current = status["observedGeneration"] == body["metadata"]["generation"]
    expected = EXPECTED[Reason(conditions[Kind.READY]["reason"])] if current else "InProgress"
    assert kstatus(body) == expected, body
    if conditions[Kind.ELECTED]["status"] == "True":
        assert "master" in status, status
    if "disabled" in status:
        assert conditions[Kind.ENABLED]["status"] == "False", status
    elif conditions[Kind.ENABLED]["status"] == "False":  # the database could not be told so far, or has lost it
        assert conditions[Kind.READY]["reason"] == Reason.STOPPING, status


def _judge_step(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    assert after["term"] >= before["term"], (before, after)
    assert after["transitions"] >= before["transitions"], (before, after)
    assert after["observedGeneration"] >= before["observedGeneration"], (before, after)
    for kind in ALWAYS:
        was, now = find(before, kind), find(after, kind)
        if was["status"] == now["status"]:
            assert was["lastTransitionTime"] == now["lastTransitionTime"], (was, now)
