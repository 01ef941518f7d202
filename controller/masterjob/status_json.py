"""Locks and their history as JSON, for the command line and the control API alike."""

from datetime import timedelta
from typing import Any

from masterjob.availability.gaps import Gap
from masterjob.availability.report import AvailabilityReport
from masterjob.job_status import JobStatus
from masterjob.lock_status import DisabledStatus, HistoryEvent, LockStatus, MasterStatus, format_timestamp


def lock_json(lock: LockStatus) -> dict[str, Any]:
    """Return the status of a lock as JSON."""
    return {
        "lockName": lock.lock_name,
        "state": lock.state,
        "why": lock.why,
        "since": None if lock.since is None else format_timestamp(lock.since),
        "enabled": lock.enabled,
        "term": lock.term,
        "master": None if lock.master is None else _master_json(lock.master),
        "disabled": None if lock.disabled is None else disabled_json(lock.disabled),
        "job": None if lock.job is None else _job_json(lock.job),
    }


def _job_json(job: JobStatus) -> dict[str, Any]:
    return {
        "name": job.job,
        "instance": job.instance,
        "term": job.term,
        "phase": job.phase,
        "since": format_timestamp(job.since),
        "exitCode": job.exit_code,
        "restarts": job.restarts,
        "consecutiveFailures": job.consecutive_failures,
        "lastError": job.last_error,
        "output": list(job.output),
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
    """Return a disable as JSON."""
    return {
        "reason": disabled.reason,
        "actor": disabled.actor,
        "source": disabled.source,
        "since": format_timestamp(disabled.since),
        "until": None if disabled.until is None else format_timestamp(disabled.until),
    }


def event_json(event: HistoryEvent) -> dict[str, Any]:
    """Return an event of the history as JSON."""
    return {
        "at": format_timestamp(event.at),
        "lockName": event.lock_name,
        "term": event.term,
        "kind": event.kind,
        "instance": event.instance,
        "actor": event.actor,
        "reason": event.reason,
        "vacantForSeconds": None if event.vacant_for is None else _seconds(event.vacant_for),
        "vacancyCause": event.vacancy_cause or None,
    }


def report_json(report: AvailabilityReport) -> dict[str, Any]:
    """Return the report of a lock as JSON; the gaps in the order in which they were."""
    return {
        "lockName": report.lock_name,
        "since": None if report.since is None else format_timestamp(report.since),
        "until": format_timestamp(report.until),
        "availability": None if report.availability is None else round(report.availability, 6),
        "demandedSeconds": _seconds(report.demanded),
        "runningSeconds": _seconds(report.running),
        "causes": [
            {
                "cause": each.cause.value,
                "gaps": each.count,
                "seconds": _seconds(each.total),
                "longestSeconds": _seconds(each.longest),
            }
            for each in report.by_cause
        ],
        "gaps": [_gap_json(each) for each in report.gaps],
    }


def _gap_json(gap: Gap) -> dict[str, Any]:
    return {
        "cause": gap.cause.value,
        "start": format_timestamp(gap.start, "milliseconds"),
        "end": None if gap.is_open else format_timestamp(gap.end, "milliseconds"),
        "seconds": _seconds(gap.length),
    }


def _seconds(span: timedelta) -> float:
    return round(span.total_seconds(), 3)
