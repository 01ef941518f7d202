"""The last run of each lock's job, for people: written by the master's instance, and decided by nothing else.

A write is one conditional UPDATE, so a run of an earlier term never replaces one of a later term. It may be
repeated after an unknown outcome, and may skip states that were not written in time: the failures of this term are
stored beside those of earlier terms, and replaced, not added.
"""

from typing import Any

from sqlalchemy import Row

from masterjob.concurrency.clock import clock
from masterjob.job_status import JobStatus, RunPhase, RunRecord, bound_output
from masterjob.store.connection.connection import BoundedConnection, ConstraintViolation
from masterjob.store.connection.dialects import from_epoch_ms
from masterjob.store.queries.history import sanitize_text

COLUMNS = """
    j.job, j.instance AS job_instance, j.term AS job_term, j.phase, j.since_ms, j.exit_code, j.restarts,
    j.failures + j.earlier_failures AS consecutive_failures, j.last_error
"""
OUTPUT_COLUMN = ", j.output"
JOIN = " LEFT JOIN master_job j ON j.lock_name = l.lock_name"

_INSERT_EMPTY = """
    {insert} master_job (lock_name, job, instance, term, since_ms, restarts, failures, earlier_failures,
        last_error, output, changed_ms)
    VALUES (:lock_name, '', '', 0, 0, 0, 0, 0, '', '', 0) {on_conflict_ignore}
"""
# MySQL assigns from left to right, and later expressions see the new values: so what is read comes first.
# Until the first execution of a term has ended, the row keeps what is known of the one before it.
_UPDATE = """
    UPDATE master_job SET
        earlier_failures = CASE WHEN :has_run THEN 0 WHEN term = :term THEN earlier_failures
            ELSE earlier_failures + failures END,
        failures = :failures,
        exit_code = CASE WHEN :keeps_last_end THEN exit_code ELSE :exit_code END,
        last_error = CASE WHEN :keeps_last_end THEN last_error ELSE :last_error END,
        output = CASE WHEN :keeps_last_end THEN output ELSE :output END,
        job = :job, instance = :instance, phase = :phase, restarts = :restarts,
        since_ms = {now_ms} - :age_ms, changed_ms = {now_ms}, term = :term
    WHERE lock_name = :lock_name AND term <= :term
"""


def write(db: BoundedConnection, record: RunRecord) -> None:
    """Write the run, unless the database has one of a later term. A lock without a row gets none."""
    values = _to_row(record)
    if db.execute(_UPDATE, **values):
        return
    try:
        db.execute(_INSERT_EMPTY, lock_name=record.lock_name)
    except ConstraintViolation:  # the lock's row is lost
        return
    db.execute(_UPDATE, **values)


def _to_row(record: RunRecord) -> dict[str, Any]:
    run = record.run
    return {
        "lock_name": record.lock_name,
        "job": record.job,
        "instance": record.instance,
        "term": record.term,
        "phase": None if record.is_over else run.phase.value,
        "age_ms": max(0, round((clock() - run.since) * 1000)),
        "exit_code": run.exit_code,
        "restarts": run.restarts,
        "failures": run.failures,
        "has_run": run.has_run,
        "keeps_last_end": not run.has_run and run.exit_code is None and not run.last_error,
        "last_error": sanitize_text(run.last_error),
        "output": sanitize_text("\n".join(bound_output(run.output)), 10_000),
    }


def to_job_status(row: Row[Any], *, with_output: bool) -> JobStatus | None:
    """Return the job of a row that has `COLUMNS`; None if no run was ever recorded."""
    if not row.job_term:
        return None
    return JobStatus(
        row.lock_name,
        row.job,
        row.job_instance,
        row.job_term,
        None if row.phase is None else RunPhase(row.phase),
        from_epoch_ms(row.since_ms),
        row.exit_code,
        row.restarts,
        row.consecutive_failures,
        row.last_error,
        tuple(row.output.split("\n")) if with_output and row.output else (),
    )
