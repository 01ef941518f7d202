"""The commands about locks: who is master, what happened, and the switch."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from masterjob.asjson import event_json, lock_json
from masterjob.cli import shown
from masterjob.cli.options import (
    Actor,
    ConfigFile,
    DatabaseUrl,
    Format,
    LockName,
    Output,
    actor_or_user,
    switchboard_of,
)
from masterjob.election.errors import SettingError
from masterjob.election.timing import duration
from masterjob.election.views import LockStatus, how_to_enable, moment_text
from masterjob.store.switchboard import Switchboard

LIST = """Who is master of which lock, or why nobody is.

\b
  masterjob list
  masterjob list --output json | jq '.[] | select(.state != "Elected")'

JSON: a list of locks as `masterjob status` shows them.
"""
STATUS = """One lock in full: its master, its term, and who disabled it, why, until when.

\b
  masterjob status REPORT
  masterjob status REPORT --output json | jq -r .master.instance

JSON: {lockName, state, enabled, term, master, disabled}; state is Elected, Vacant, Stopping or Disabled.
Exit code 1 where nobody has used the lock yet.
"""
HISTORY = """What happened to a lock, the newest first: at most the last 1,000 transitions.

\b
  masterjob history REPORT --limit 5

JSON: a list of {at, lockName, term, kind, instance, actor, reason}.
"""
ENABLE = """Take a disable back. The job runs again as soon as nothing else disables its lock.

\b
  masterjob enable REPORT
  masterjob enable REPORT --source file:default/report   (only if that file is gone for good)

Exit code 1 where something else still disables the lock: what, is said. JSON: {changed} and the lock.
"""
DISABLE = """Stop a lock's job on whichever instance is master, and keep it stopped.

\b
  masterjob disable REPORT --reason "moving the data"
  masterjob disable REPORT --reason "moving the data" --until 2h
  masterjob disable REPORT --reason "moving the data" --until 2030-01-31T12:00:00Z

A lock that nobody has used yet may be disabled in advance. Where it is disabled already the first reason is
kept. JSON: {changed} and the lock.
"""
STEP_DOWN = """Ask the present master of a lock to give its term to another instance.

\b
  masterjob step-down REPORT --reason "this machine is slow"

Exit code 1 where nobody is master. JSON: {lockName, asked}.
"""

Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; everybody sees it.", show_default=False)
]
MaybeReason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; everybody sees it.")]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="When it ends by itself: 2h, or RFC 3339.", show_default=False),
]
Source = Annotated[str, typer.Option("--source", help="Whose disable is taken back.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many transitions at most.")]


def list_all(database: DatabaseUrl = None, config: ConfigFile = None, output: Format = Output.TABLE) -> None:
    """Show all locks."""
    locks = switchboard_of(database, config).status()
    if output is Output.JSON:
        shown.as_json([lock_json(lock) for lock in locks])
    elif not locks:
        typer.echo("No lock has been used on this database yet.")
    else:
        shown.table(("Lock", "State", "Master", "Since", "Why"), [_row(lock) for lock in locks])


def _row(lock: LockStatus) -> tuple[str, ...]:
    master = "" if lock.master is None else lock.master.pod or lock.master.instance
    at = lock.disabled.since if lock.disabled else lock.master.since if lock.master else None
    return lock.lock_name, lock.state, master, "" if at is None else shown.since(at), shown.why(lock)


def status(
    lock_name: LockName,
    database: DatabaseUrl = None,
    config: ConfigFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Show one lock."""
    lock = _the(switchboard_of(database, config), lock_name)
    if output is Output.JSON:
        shown.as_json(lock_json(lock))
    else:
        shown.table(("Lock", lock.lock_name), [row for row in _facts(lock) if row[1]])


def _facts(lock: LockStatus) -> list[tuple[str, str]]:
    rows = [("State", lock.state), ("Term", str(lock.term) if lock.term else "none yet")]
    if lock.master is not None:
        heard = f"{lock.master.heartbeat_age:.1f}s ago"
        rows += [("Master", lock.master.instance), ("Pod", lock.master.pod), ("Node", lock.master.node)]
        rows += [
            ("Address", lock.master.address),
            ("Since", moment_text(lock.master.since)),
            ("Heartbeat", heard),
        ]
    if lock.disabled is not None:
        until = lock.disabled.until
        rows += [("Reason", lock.disabled.reason), ("Disabled by", lock.disabled.by)]
        rows += [("Disabled at", moment_text(lock.disabled.since))]
        rows += [("Until", moment_text(until) if until else ""), ("To enable", how_to_enable(lock))]
    return rows


def history(
    lock_name: LockName,
    limit: Limit = 20,
    database: DatabaseUrl = None,
    config: ConfigFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Show what happened to one lock."""
    events = switchboard_of(database, config).history(lock_name, limit)
    if output is Output.JSON:
        shown.as_json([event_json(event) for event in events])
    elif not events:
        typer.echo(f"Nothing has happened to {lock_name} yet.")
    else:
        rows = [(moment_text(each.at), each.kind, each.actor or "", shown.told(each)) for each in events]
        shown.table(("At", "What", "By", "Why"), rows)


def enable(
    lock_name: LockName,
    source: Source = "api",
    actor: Actor = None,
    database: DatabaseUrl = None,
    config: ConfigFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Take a disable back."""
    board = switchboard_of(database, config)
    changed = board.enable(lock_name, actor_or_user(actor), source)
    found = board.status(lock_name)
    left = bool(found) and found[0].disabled is not None
    if output is Output.JSON:
        shown.as_json({"changed": changed, **(lock_json(found[0]) if found else {"lockName": lock_name})})
    elif left:
        typer.echo(f"{lock_name} is still disabled: {shown.why(found[0])}. {how_to_enable(found[0])}")
    else:
        typer.echo(f"{lock_name} is enabled" if changed else f"{lock_name} was not disabled")
    if left:
        raise typer.Exit(1)


def disable(  # noqa: PLR0913, PLR0917 - the options of a command
    lock_name: LockName,
    reason: Reason,
    until: Until = None,
    actor: Actor = None,
    database: DatabaseUrl = None,
    config: ConfigFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Stop a lock's job."""
    end = None if until is None else end_of(until)
    board = switchboard_of(database, config)
    changed = board.disable(lock_name, reason, actor_or_user(actor), until=end)
    lock = _the(board, lock_name)
    if output is Output.JSON:
        shown.as_json({"changed": changed, **lock_json(lock)})
    elif changed:
        typer.echo(f"{lock_name} is disabled")
    else:
        typer.echo(f"{lock_name} was disabled already; the first reason is kept: {shown.why(lock)}")


def step_down(
    lock_name: LockName,
    reason: MaybeReason = "asked to",
    actor: Actor = None,
    database: DatabaseUrl = None,
    config: ConfigFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Ask the master to give its term up."""
    asked = switchboard_of(database, config).step_down(lock_name, actor_or_user(actor), reason)
    if output is Output.JSON:
        shown.as_json({"lockName": lock_name, "asked": asked})
    elif asked:
        typer.echo(f"the master of {lock_name} was asked to step down")
    else:
        typer.echo(f"masterjob: {lock_name} has no master that could step down", err=True)
    if not asked:
        raise typer.Exit(1)


def end_of(text: str) -> datetime:
    """Return the moment that is meant by a duration from now, or by RFC 3339.

    Raises:
        SettingError: it is neither.
    """
    try:
        return (
            datetime.now(UTC) + timedelta(seconds=duration(text))
            if text[-1:].isalpha() and text[-1] != "Z"
            else (datetime.fromisoformat(text))
        )
    except (SettingError, ValueError):
        raise SettingError(
            f"--until {text!r} is no time: write it like 2h, 1h30m or 2030-01-31T12:00:00Z"
        ) from None


def _the(board: Switchboard, lock_name: str) -> LockStatus:
    found = board.status(lock_name)
    if not found:
        raise SettingError(f"no lock {lock_name} is known: nobody has used it on this database yet")
    return found[0]
