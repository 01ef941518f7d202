"""The commands that change something: the switch, and step-down."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from masterjob.asjson import lock_json
from masterjob.cli import render
from masterjob.cli.locks import require_lock
from masterjob.cli.options import (
    ActorOption,
    DatabaseOptions,
    LockNameArgument,
    OutputFormat,
    OutputOption,
    actor_or_user,
    option,
)
from masterjob.election.timing import parse_duration
from masterjob.errors import SettingError
from masterjob.lock_status import explain_how_to_enable

ENABLE_HELP = """Take a disable back. The job runs again as soon as nothing else disables its lock.

\b
  masterjob enable REPORT
  masterjob enable REPORT --source file:default/report   (only if that file is gone for good)

Exit code 1 where something else still disables the lock: what, is said. JSON: {changed} and the lock.
"""
DISABLE_HELP = """Stop a lock's job on whichever instance is master, and keep it stopped.

\b
  masterjob disable REPORT --reason "moving the data"
  masterjob disable REPORT --reason "moving the data" --until 2h
  masterjob disable REPORT --reason "moving the data" --until 2030-01-31T12:00:00Z

A lock that nobody has used yet may be disabled in advance. Where it is disabled already the first reason is
kept. JSON: {changed} and the lock.
"""
STEP_DOWN_HELP = """Ask the present master of a lock to give its term to another instance.

\b
  masterjob step-down REPORT --reason "this machine is slow"

Exit code 1 where nobody is master. JSON: {lockName, asked}.
"""

ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; everybody sees it.")]
UntilOption = Annotated[
    str | None, option("--until", metavar="TIME", text="When it ends by itself: 2h, or RFC 3339.")
]
SourceOption = Annotated[str, typer.Option("--source", help="Whose disable is taken back.")]


def enable(
    lock_name: LockNameArgument,
    *,
    source: SourceOption = "api",
    actor: ActorOption = None,
    database: DatabaseOptions,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Take a disable back."""
    admin = database.lock_admin()
    changed = admin.enable(lock_name, actor_or_user(actor), source)
    locks = admin.status(lock_name)
    still_disabled = bool(locks) and locks[0].disabled is not None
    if output is OutputFormat.JSON:
        render.print_json({"changed": changed, **(lock_json(locks[0]) if locks else {"lockName": lock_name})})
    elif still_disabled:
        typer.echo(f"{lock_name} is still disabled: {render.explain(locks[0])}. {explain_how_to_enable(locks[0])}")
    elif not locks:
        typer.echo(f"{lock_name} was not disabled: nobody has used it on this database yet")
    else:
        typer.echo(f"{lock_name} is enabled" if changed else f"{lock_name} was not disabled")
    if still_disabled:
        raise typer.Exit(1)


def disable(
    lock_name: LockNameArgument,
    *,
    reason: ReasonOption,
    until: UntilOption = None,
    actor: ActorOption = None,
    database: DatabaseOptions,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Stop a lock's job."""
    ends_at = None if until is None else _parse_until(until)
    admin = database.lock_admin()
    changed = admin.disable(lock_name, reason, actor_or_user(actor), until=ends_at)
    lock = require_lock(admin, lock_name)
    if output is OutputFormat.JSON:
        render.print_json({"changed": changed, **lock_json(lock)})
    elif changed:
        typer.echo(f"{lock_name} is disabled")
    else:
        typer.echo(f"{lock_name} was disabled already; the first reason is kept: {render.explain(lock)}")


def step_down(
    lock_name: LockNameArgument,
    *,
    reason: ReasonOption = "asked to",
    actor: ActorOption = None,
    database: DatabaseOptions,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Ask the master to give its term up."""
    requested = database.lock_admin().step_down(lock_name, actor_or_user(actor), reason)
    if output is OutputFormat.JSON:
        render.print_json({"lockName": lock_name, "asked": requested})
    elif requested:
        typer.echo(f"the master of {lock_name} was asked to step down")
    else:
        typer.echo(f"masterjob: {lock_name} has no master that could step down", err=True)
    if not requested:
        raise typer.Exit(1)


def _parse_until(text: str) -> datetime:
    """Return the moment that is meant by a duration from now, or by RFC 3339.

    Raises:
        SettingError: it is neither.
    """
    try:
        if text[-1:].isalpha() and text[-1] != "Z":
            return datetime.now(UTC) + timedelta(seconds=parse_duration(text))
        return datetime.fromisoformat(text)
    except (SettingError, ValueError, OverflowError):
        raise SettingError(
            f"--until {text!r} is no time: write it like 2h, 1h30m or 2030-01-31T12:00:00Z"
        ) from None
