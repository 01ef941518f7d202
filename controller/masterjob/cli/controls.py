"""The commands that change something: the switch, and step-down."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from masterjob.asjson import lock_json
from masterjob.cli import shown
from masterjob.cli.locks import known_lock
from masterjob.cli.options import Actor, DatabaseOptions, Format, LockName, Output, actor_or_user, option
from masterjob.election.errors import SettingError
from masterjob.election.timing import duration
from masterjob.election.views import how_to_enable

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

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; everybody sees it.")]
Until = Annotated[str | None, option("--until", metavar="TIME", text="When it ends by itself: 2h, or RFC 3339.")]
Source = Annotated[str, typer.Option("--source", help="Whose disable is taken back.")]


def enable(
    lock_name: LockName,
    *,
    source: Source = "api",
    actor: Actor = None,
    database: DatabaseOptions,
    output: Format = Output.TABLE,
) -> None:
    """Take a disable back."""
    board = database.switchboard()
    changed = board.enable(lock_name, actor_or_user(actor), source)
    found = board.status(lock_name)
    left = bool(found) and found[0].disabled is not None
    if output is Output.JSON:
        shown.as_json({"changed": changed, **(lock_json(found[0]) if found else {"lockName": lock_name})})
    elif left:
        typer.echo(f"{lock_name} is still disabled: {shown.why(found[0])}. {how_to_enable(found[0])}")
    elif not found:
        typer.echo(f"{lock_name} was not disabled: nobody has used it on this database yet")
    else:
        typer.echo(f"{lock_name} is enabled" if changed else f"{lock_name} was not disabled")
    if left:
        raise typer.Exit(1)


def disable(
    lock_name: LockName,
    *,
    reason: Reason,
    until: Until = None,
    actor: Actor = None,
    database: DatabaseOptions,
    output: Format = Output.TABLE,
) -> None:
    """Stop a lock's job."""
    end = None if until is None else _end_of(until)
    board = database.switchboard()
    changed = board.disable(lock_name, reason, actor_or_user(actor), until=end)
    lock = known_lock(board, lock_name)
    if output is Output.JSON:
        shown.as_json({"changed": changed, **lock_json(lock)})
    elif changed:
        typer.echo(f"{lock_name} is disabled")
    else:
        typer.echo(f"{lock_name} was disabled already; the first reason is kept: {shown.why(lock)}")


def step_down(
    lock_name: LockName,
    *,
    reason: Reason = "asked to",
    actor: Actor = None,
    database: DatabaseOptions,
    output: Format = Output.TABLE,
) -> None:
    """Ask the master to give its term up."""
    asked = database.switchboard().step_down(lock_name, actor_or_user(actor), reason)
    if output is Output.JSON:
        shown.as_json({"lockName": lock_name, "asked": asked})
    elif asked:
        typer.echo(f"the master of {lock_name} was asked to step down")
    else:
        typer.echo(f"masterjob: {lock_name} has no master that could step down", err=True)
    if not asked:
        raise typer.Exit(1)


def _end_of(text: str) -> datetime:
    """Return the moment that is meant by a duration from now, or by RFC 3339.

    Raises:
        SettingError: it is neither.
    """
    try:
        if text[-1:].isalpha() and text[-1] != "Z":
            return datetime.now(UTC) + timedelta(seconds=duration(text))
        return datetime.fromisoformat(text)
    except (SettingError, ValueError, OverflowError):
        raise SettingError(
            f"--until {text!r} is no time: write it like 2h, 1h30m or 2030-01-31T12:00:00Z"
        ) from None
