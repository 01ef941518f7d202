"""list, status and history: the commands that only read."""

from typing import Annotated

import typer

from masterjob.cli import render
from masterjob.cli.options import DatabaseOptions, LockNameArgument, OutputFormat, OutputOption
from masterjob.errors import SettingError
from masterjob.lock_status import LockStatus, explain_how_to_enable, format_timestamp
from masterjob.status_json import event_json, lock_json
from masterjob.store.admin import LockAdmin

LIST_HELP = """Show all locks: where each job runs, or why it does not.

\b
  masterjob list
  masterjob list -o json | jq '.[] | select(.state != "Running")'

JSON: a list of locks, each as in "masterjob status".
"""
STATUS_HELP = """Show one lock: its master, its term, and who disabled it.

\b
  masterjob status REPORT
  masterjob status REPORT --output json | jq -r .master.instance

JSON: {lockName, state, why, enabled, term, master, disabled, job}; the state is Running, Starting, Completed,
StartFailed, Stopping, Disabled, Vacant or Unknown (a heartbeat of the master is overdue).
Exit code 1 if the lock was never used.
"""
HISTORY_HELP = """Show what happened to a lock, newest first.

\b
  masterjob history REPORT --limit 5

At most the last 1,000 events are shown.

JSON: a list of {at, lockName, term, kind, instance, actor, reason, vacantForSeconds, vacancyCause}.
Exit code 1 if the lock was never used.
"""

LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="The maximum number of events.")]


def list_all(database: DatabaseOptions, output: OutputOption = OutputFormat.TABLE) -> None:
    """Show all locks."""
    statuses = database.lock_admin().status()
    if output is OutputFormat.JSON:
        render.print_json([lock_json(lock) for lock in statuses])
    elif not statuses:
        typer.echo("No lock has been used on this database yet.")
    else:
        render.print_table(("Lock", "State", "Master", "Since", "Why"), [_lock_row(lock) for lock in statuses])


def _lock_row(lock: LockStatus) -> tuple[str, ...]:
    master = "" if lock.master is None else lock.master.pod or lock.master.instance
    since = lock.disabled.since if lock.disabled else lock.master.since if lock.master else None
    return (
        lock.lock_name,
        lock.state,
        master,
        "" if since is None else render.elapsed_since(since),
        lock.why,
    )


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
    rows = [
        ("State", lock.state),
        ("Why", lock.why),
        ("Term", str(lock.term) if lock.term else "none yet"),
    ]
    if lock.master is not None:
        rows += [
            ("Master", lock.master.instance),
            ("Pod", lock.master.pod),
            ("Node", lock.master.node),
            ("Address", lock.master.address),
            ("Since", format_timestamp(lock.master.since)),
            ("Heartbeat", f"{lock.master.heartbeat_age:.1f}s ago"),
        ]
    if lock.disabled is not None:
        until = lock.disabled.until
        rows += [
            ("Reason", lock.disabled.reason),
            ("Disabled by", lock.disabled.by),
            ("Disabled at", format_timestamp(lock.disabled.since)),
            ("Until", format_timestamp(until) if until else ""),
            ("To enable", explain_how_to_enable(lock)),
        ]
    return rows


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
        render.print_table(("At", "What", "By", "Why"), rows)


def require_lock(admin: LockAdmin, lock_name: str) -> LockStatus:
    """Return the status of a lock.

    Raises:
        SettingError: the lock was never used.
    """
    locks = admin.status(lock_name)
    if not locks:
        raise SettingError(f"lock {lock_name} not found: it was never used on this database")
    return locks[0]
