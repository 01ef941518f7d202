"""The commands that only look: who is master of which lock, and what happened to it."""

from typing import Annotated

import typer

from masterjob.asjson import event_json, lock_json
from masterjob.cli import shown
from masterjob.cli.options import DatabaseOptions, Format, LockName, Output
from masterjob.election.errors import SettingError
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

JSON: a list of {at, lockName, term, kind, instance, actor, reason, vacantForSeconds}.
Exit code 1 where nobody has used the lock yet.
"""

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many transitions at most.")]


def list_all(database: DatabaseOptions, output: Format = Output.TABLE) -> None:
    """Show all locks."""
    locks = database.switchboard().status()
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


def status(lock_name: LockName, database: DatabaseOptions, output: Format = Output.TABLE) -> None:
    """Show one lock."""
    lock = known_lock(database.switchboard(), lock_name)
    if output is Output.JSON:
        shown.as_json(lock_json(lock))
    else:
        shown.table(("Lock", lock.lock_name), [row for row in _facts(lock) if row[1]])


def _facts(lock: LockStatus) -> list[tuple[str, str]]:
    rows = [("State", lock.state), ("Term", str(lock.term) if lock.term else "none yet")]
    if lock.master is not None:
        rows += [
            ("Master", lock.master.instance),
            ("Pod", lock.master.pod),
            ("Node", lock.master.node),
            ("Address", lock.master.address),
            ("Since", moment_text(lock.master.since)),
            ("Heartbeat", f"{lock.master.heartbeat_age:.1f}s ago"),
        ]
    if lock.disabled is not None:
        until = lock.disabled.until
        rows += [
            ("Reason", lock.disabled.reason),
            ("Disabled by", lock.disabled.by),
            ("Disabled at", moment_text(lock.disabled.since)),
            ("Until", moment_text(until) if until else ""),
            ("To enable", how_to_enable(lock)),
        ]
    return rows


def history(
    lock_name: LockName, *, limit: Limit = 20, database: DatabaseOptions, output: Format = Output.TABLE
) -> None:
    """Show what happened to one lock."""
    board = database.switchboard()
    events = board.history(lock_name, limit)
    if not events:
        known_lock(board, lock_name)
    if output is Output.JSON:
        shown.as_json([event_json(event) for event in events])
    elif not events:
        typer.echo(f"Nothing has happened to {lock_name} yet.")
    else:
        rows = [(moment_text(each.at), each.kind, each.actor or "", shown.told(each)) for each in events]
        shown.table(("At", "What", "By", "Why"), rows)


def known_lock(board: Switchboard, lock_name: str) -> LockStatus:
    """Return a lock that somebody has used.

    Raises:
        SettingError: nobody has.
    """
    found = board.status(lock_name)
    if not found:
        raise SettingError(f"no lock {lock_name} is known: nobody has used it on this database yet")
    return found[0]
