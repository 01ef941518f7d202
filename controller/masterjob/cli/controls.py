"""enable, disable and step-down: the commands that change a lock."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from masterjob.cli import render
from masterjob.cli.locks import require_lock
from masterjob.cli.options import (
    ActorOption,
    DatabaseOptions,
    LockNameArgument,
    OutputFormat,
    OutputOption,
    option,
)
from masterjob.election.timing import parse_duration
from masterjob.errors import SettingError
from masterjob.lock_status import explain_how_to_enable
from masterjob.runtime.identity import default_actor
from masterjob.status_json import lock_json

ENABLE_HELP = """Undo a disable, so that the job of a lock can run again.

The lock stays disabled as long as something else disables it, such as a manifest.

\b
  masterjob enable REPORT
  masterjob enable REPORT --source file:default/report

The second form is for a manifest that is gone for good.

Exit code 1 if something else still disables the lock; the output says what.
JSON: {changed} and the lock.
"""
DISABLE_HELP = """Stop the job of a lock on every instance, and keep it stopped.

\b
  masterjob disable REPORT --reason "moving the data"
  masterjob disable REPORT --reason "moving the data" --until 2h
  masterjob disable REPORT --reason "moving the data" \\
    --until 2030-01-31T12:00:00Z

A lock that was never used can be disabled in advance; the output says so, and names the nearest one. If the lock
is already disabled, the first reason is kept.
JSON: {changed} and the lock.
"""
STEP_DOWN_HELP = """Ask the master of a lock to hand over to another instance.

\b
  masterjob step-down REPORT --reason "this machine is slow"

Exit code 1 if the lock has no master. JSON: {lockName, asked}.
"""

ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="The reason; everyone can see it.")]
OptionalReasonOption = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="The reason; everyone can see it.", show_default=False)
]
UntilOption = Annotated[
    str | None, option("--until", metavar="TIME", text="When the disable ends: 2h, or an RFC 3339 time.")
]
SourceOption = Annotated[str, typer.Option("--source", help="The source of the disable to undo.")]


def enable(
    lock_name: LockNameArgument,
    *,
    source: SourceOption = "api",
    actor: ActorOption = None,
    database: DatabaseOptions,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Undo a disable."""
    admin = database.lock_admin()
    changed = admin.enable(lock_name, actor or default_actor(), source)
    locks = admin.status(lock_name)
    still_disabled = bool(locks) and locks[0].disabled is not None
    if output is OutputFormat.JSON:
        render.print_json({"changed": changed, **(lock_json(locks[0]) if locks else {"lockName": lock_name})})
    elif still_disabled:
        typer.echo(f"{lock_name} is still {locks[0].why_disabled}. {explain_how_to_enable(locks[0])}")
    elif not locks:
        typer.echo(f"{lock_name} was not disabled: it was never used on this database")
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
    unknown = admin.explain_unknown(lock_name)
    changed = admin.disable(lock_name, reason, actor or default_actor(), until=ends_at)
    lock = require_lock(admin, lock_name)
    if output is OutputFormat.JSON:
        render.print_json({"changed": changed, **lock_json(lock)})
    elif changed:
        typer.echo(f"{lock_name} is disabled" + (f" in advance: {unknown}" if unknown else ""))
    else:
        typer.echo(f"{lock_name} was already {lock.why_disabled}; the first reason is kept")


def step_down(
    lock_name: LockNameArgument,
    *,
    reason: OptionalReasonOption = "",
    actor: ActorOption = None,
    database: DatabaseOptions,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Ask the master to hand over."""
    requested = database.lock_admin().step_down(lock_name, actor or default_actor(), reason)
    if output is OutputFormat.JSON:
        render.print_json({"lockName": lock_name, "asked": requested})
    elif requested:
        typer.echo(f"the master of {lock_name} was asked to step down")
    else:
        typer.echo(f"masterjob: {lock_name} has no master that could step down", err=True)
    if not requested:
        raise typer.Exit(1)


def _parse_until(text: str) -> datetime:
    try:
        if text[-1:].isalpha() and text[-1] != "Z":
            return datetime.now(UTC) + timedelta(seconds=parse_duration(text))
        return datetime.fromisoformat(text)
    except (SettingError, ValueError, OverflowError):
        raise SettingError(
            f"--until {text!r} is not a valid time: write it like 2h, 1h30m or 2030-01-31T12:00:00Z"
        ) from None
