"""Locks and what happened to them as plain values for JSON: the same on the command line and over HTTP."""

from typing import Any

from masterjob.lock_status import DisabledStatus, HistoryEvent, LockStatus, MasterStatus, format_timestamp


def lock_json(lock: LockStatus) -> dict[str, Any]:
    """Return a lock for programs."""
    return {
        "lockName": lock.lock_name,
        "state": lock.state,
        "enabled": lock.enabled,
        "term": lock.term,
        "master": None if lock.master is None else _master_json(lock.master),
        "disabled": None if lock.disabled is None else disabled_json(lock.disabled),
    }


def _master_json(master: MasterStatus) -> dict[str, Any]:
    return {
        "instance": master.instance,
        "address": master.address,
        "pod": master.pod,
        "node": master.node,
        "since": format_timestamp(master.since),
        "heartbeatAgeSeconds": round(master.heartbeat_age, 3),
        "alive": master.alive,
    }


def disabled_json(disabled: DisabledStatus) -> dict[str, Any]:
    """Return who disabled a lock, and why, for programs."""
    return {
        "reason": disabled.reason,
        "actor": disabled.actor,
        "source": disabled.source,
        "since": format_timestamp(disabled.since),
        "until": None if disabled.until is None else format_timestamp(disabled.until),
    }


def event_json(event: HistoryEvent) -> dict[str, Any]:
    """Return a line of the history for programs."""
    return {
        "at": format_timestamp(event.at),
        "lockName": event.lock_name,
        "term": event.term,
        "kind": event.kind,
        "instance": event.instance,
        "actor": event.actor,
        "reason": event.reason,
        "vacantForSeconds": None if event.vacant_for is None else round(event.vacant_for.total_seconds(), 3),
    }
