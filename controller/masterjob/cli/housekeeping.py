"""forget and prune: the commands that delete locks that are not used any more."""

from typing import Annotated

import typer

from masterjob.availability.report import parse_period
from masterjob.cli import render
from masterjob.cli.locks import require_lock
from masterjob.cli.options import DatabaseOptions, LockNameArgument, OutputFormat, OutputOption

FORGET_HELP = """Delete a lock that is not used any more, with its history.

\b
  masterjob forget REPORT

The lock must be free, and nothing may disable or declare it. While instances are alive, it must also have been
unused for six minutes: an instance that waits for a lock claims it sooner. An instance that takes part in the lock
later creates it again; its terms continue to grow.

Exit code 1 if the lock was never used, or is kept; the output says why. JSON: {lockName, forgotten, why}.
"""
PRUNE_HELP = """Delete all locks that have not been used for some time, with their history.

\b
  masterjob prune --unused-for 30d          show them
  masterjob prune --unused-for 30d --yes    delete them

A lock is deleted under the conditions of "masterjob forget". A lock that never had a master nor any other event
is deleted too.

JSON: a list of {lockName, forgotten, why}.
"""

UnusedForOption = Annotated[
    str, typer.Option("--unused-for", metavar="TIME", help="How long nothing has happened: 30d, 24h or 90m.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Delete them. Without it they are only shown.")]


def forget(
    lock_name: LockNameArgument, *, database: DatabaseOptions, output: OutputOption = OutputFormat.TABLE
) -> None:
    """Delete a lock."""
    admin = database.lock_admin()
    require_lock(admin, lock_name)
    kept = admin.forget(lock_name)
    if output is OutputFormat.JSON:
        render.print_json(_outcome_json(lock_name, kept))
    elif kept is None:
        typer.echo(f"{lock_name} and its history are deleted")
    else:
        typer.echo(f"masterjob: {lock_name} is kept, because {kept}", err=True)
    if kept is not None:
        raise typer.Exit(1)


def prune(
    *,
    unused_for: UnusedForOption,
    yes: YesOption = False,
    database: DatabaseOptions,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Delete the locks that have not been used for some time."""
    period, admin = parse_period(unused_for), database.lock_admin()
    names = admin.list_unused(period)
    kept = {name: admin.forget(name, period) if yes else "--yes was not given" for name in names}
    forgotten = [name for name in names if kept[name] is None]
    if output is OutputFormat.JSON:
        render.print_json([_outcome_json(name, kept[name]) for name in names])
    elif not names:
        typer.echo(f"Every lock was used in the last {unused_for}, or something disables or declares it.")
    elif yes:
        for name in names:
            typer.echo(f"{name}: deleted" if kept[name] is None else f"{name}: kept, because {kept[name]}")
        typer.echo(f"{len(forgotten)} of {len(names)} locks deleted")
    else:
        for name in names:
            typer.echo(name)
        typer.echo(f"{len(names)} locks were not used in the last {unused_for}; --yes deletes them", err=True)


def _outcome_json(lock_name: str, kept: str | None) -> dict[str, object]:
    return {"lockName": lock_name, "forgotten": kept is None, "why": kept or ""}
