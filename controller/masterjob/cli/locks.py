"""list, status and history: the commands that only read."""

from shlex import quote
from typing import Annotated

import typer

from masterjob.cli import render
from masterjob.cli.options import DatabaseOptions, LockNameArgument, OutputFormat, OutputOption
from masterjob.concurrency.clock import format_age
from masterjob.election.timing import format_duration
from masterjob.errors import SettingError
from masterjob.job_status import JobStatus, RunPhase
from masterjob.lock_status import (
    DisabledStatus,
    LockStatus,
    MasterStatus,
    explain_how_to_enable,
    format_timestamp,
)
from masterjob.status_json import event_json, lock_json
from masterjob.store.admin import LockAdmin

LIST_HELP = """Show all locks: where each job runs, or why it does not.

\b
  masterjob list
  masterjob list -o json | jq '.[] | select(.state != "Running")'
  masterjob list --limit 100 --after REPORT

The last form shows one page: the locks whose names come after REPORT.

JSON: a list of locks, each as in "masterjob status".
"""
STATUS_HELP = """Show one lock: its master, the last run of its job, and who disabled it.

\b
  masterjob status REPORT
  masterjob status REPORT --output json | jq -r .master.instance

JSON: {lockName, state, why, since, enabled, term, master, disabled, job}; the state is Running, Starting,
Completed, StartFailed, Stopping, Disabled, Vacant or Unknown (a heartbeat of the master is overdue).
Exit code 1 if the lock was never used.
"""
HISTORY_HELP = """Show what happened to a lock, newest first.

\b
  masterjob history REPORT --limit 5

At most the last 1,000 events are shown.

JSON: a list of {at, lockName, term, kind, instance, actor, reason, vacantForSeconds, vacancyCause}.
Exit code 1 if the lock was never used.
"""

SHOWN_OUTPUT_LINES = 10
"""The most lines of a job's output in a table; JSON has all that were kept."""

PageSizeOption = Annotated[
    int | None, typer.Option("--limit", "-n", min=1, help="The maximum number of locks.", show_default=False)
]
AfterOption = Annotated[
    str, typer.Option("--after", metavar="NAME", help="Only locks whose names come after it.", show_default=False)
]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="The maximum number of events.")]


def list_all(
    *,
    limit: PageSizeOption = None,
    after: AfterOption = "",
    database: DatabaseOptions,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show all locks, or a page of them."""
    statuses, has_more = _read_locks(database.lock_admin(), limit, after)
    if output is OutputFormat.JSON:
        render.print_json([lock_json(lock) for lock in statuses])
    elif not statuses:
        typer.echo(f"No name comes after {after}." if after else "No lock has been used on this database yet.")
    else:
        rows = [_lock_row(lock) for lock in statuses]
        render.print_table(("Lock", "State", "Master", "Since", "Why"), rows, last_below=True)
    if has_more:
        typer.echo(f"masterjob: there are more: --after {quote(statuses[-1].lock_name)}", err=True)


def _read_locks(admin: LockAdmin, limit: int | None, after: str) -> tuple[list[LockStatus], bool]:
    """Return a page of the locks, or all, and whether more follow."""
    if limit is None:
        return admin.status(after=after), False
    locks = admin.status_page(after, limit + 1)
    return locks[:limit], len(locks) > limit


def _lock_row(lock: LockStatus) -> tuple[str, ...]:
    master = "" if lock.master is None else lock.master.pod or lock.master.instance
    return lock.lock_name, lock.state, master, _age(lock), lock.why


def _age(lock: LockStatus) -> str:
    """Return for how long the lock has been in its state; empty if that is not known."""
    if lock.since is None or lock.read_at is None:
        return ""
    return format_age((lock.read_at - lock.since).total_seconds())


def status(
    lock_name: LockNameArgument, database: DatabaseOptions, output: OutputOption = OutputFormat.TABLE
) -> None:
    """Show one lock."""
    lock = require_lock(database.lock_admin(), lock_name)
    if output is OutputFormat.JSON:
        render.print_json(lock_json(lock))
    else:
        render.print_table(("Lock", lock.lock_name), [row for row in _status_rows(lock) if row[1]])


def _status_rows(lock: LockStatus) -> list[tuple[str, str]]:
    since = "" if lock.since is None else f"{format_timestamp(lock.since)} ({_age(lock)})"
    rows = [
        ("State", lock.state),
        ("Why", lock.why),
        ("Since", since),
        ("Term", str(lock.term) if lock.term else "none yet"),
    ]
    if lock.master is not None:
        rows += _master_rows(lock.master)
    if lock.job is not None:
        rows += _job_rows(lock.job, lock)
    if lock.disabled is not None:
        rows += _disabled_rows(lock.disabled)
        rows.append(("To enable", explain_how_to_enable(lock)))
    return rows


def _master_rows(master: MasterStatus) -> list[tuple[str, str]]:
    return [
        ("Master", master.instance),
        ("Master since", format_timestamp(master.since)),
        ("Heartbeat", f"{master.heartbeat_age:.1f}s ago, lease {format_duration(master.lease)}"),
        ("Pod", master.pod),
        ("Node", master.node),
        ("Address", master.address),
    ]


def _job_rows(job: JobStatus, lock: LockStatus) -> list[tuple[str, str]]:
    """Return the last run; its error and output only while they say why the job does not run."""
    phase = "stopped" if job.phase is None else job.phase
    term = "" if job.term == lock.term else f" in term {job.term}"
    rows = [
        ("Job", job.job),
        ("Phase", f"{phase} on {job.instance}{term} since {format_timestamp(job.since)}"),
        ("Restarts", str(job.restarts) if job.restarts else ""),
        ("Failures", f"{job.consecutive_failures} in a row" if job.consecutive_failures else ""),
        ("Exit code", "" if job.exit_code is None else str(job.exit_code)),
    ]
    if job.phase is RunPhase.RUNNING:
        return rows
    lines = job.output[-SHOWN_OUTPUT_LINES:]
    if len(lines) < len(job.output):
        lines = (f"… ({len(job.output) - len(lines)} earlier lines: --output json)", *lines)
    error = "" if job.last_error in lock.why else job.last_error
    return [*rows, ("Last error", error), ("Output", "\n".join(lines))]


def _disabled_rows(disabled: DisabledStatus) -> list[tuple[str, str]]:
    return [
        ("Reason", disabled.reason),
        ("Disabled by", disabled.by),
        ("Disabled at", format_timestamp(disabled.since)),
        ("Until", format_timestamp(disabled.until) if disabled.until else ""),
    ]


def history(
    lock_name: LockNameArgument,
    *,
    limit: LimitOption = 20,
    database: DatabaseOptions,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show what happened to one lock."""
    admin = database.lock_admin()
    events = admin.history(lock_name, limit)
    if not events:
        require_lock(admin, lock_name)
    if output is OutputFormat.JSON:
        render.print_json([event_json(event) for event in events])
    elif not events:
        typer.echo(f"Nothing has happened to {lock_name} yet.")
    else:
        rows = [
            (format_timestamp(each.at), each.kind, each.actor or "", render.event_text(each)) for each in events
        ]
        render.print_table(("At", "What", "By", "Why"), rows, last_below=True)


def require_lock(admin: LockAdmin, lock_name: str) -> LockStatus:
    """Return the status of a lock.

    Raises:
        SettingError: the lock was never used.
    """
    locks = admin.status(lock_name)
    if not locks:
        raise SettingError(f"lock {lock_name} not found: it was never used on this database")
    return locks[0]
