"""What people do with locks: stop, start, ask to step down, look. Each call has a connection of its own.

Source: design sections 3.2 and 6.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from masterjob.election.errors import SettingError
from masterjob.election.values import Term
from masterjob.election.values import lock_name as valid_name
from masterjob.store import history, reading, switch
from masterjob.store.history import Event, storable
from masterjob.store.lines import Line
from masterjob.store.locks import LockVerbs
from masterjob.store.reading import LockStatus

_DISABLING = "SELECT lock_name, source FROM master_control WHERE NOT enabled"
_HELD = "SELECT term FROM master_lock WHERE lock_name = :lock_name AND holder IS NOT NULL"


class Switchboard:
    """The people's side of the database. May be used by many threads.

    Every method raises `StoreUnavailable` when the database does not answer in a few seconds, and
    `SettingError` when what was said cannot be.
    """

    def __init__(self, new_line: Callable[[], Line]) -> None:
        self._new_line = new_line

    def disable(
        self,
        lock_name: str,
        reason: str,
        actor: str,
        source: str = "api",
        until: datetime | None = None,
        *,
        corrects: bool = False,
    ) -> bool:
        """Stop the lock's job and keep it stopped, until ``until`` or until this source enables it again.

        Returns:
            whether this changed anything: False where the source disables it already. Then its first reason
            stays, unless this ``corrects`` it.
        """
        said = switch.Disabling(
            _said("reason", reason, 1000),
            _said("actor", actor, 200),
            _said("source", source, 400),
            _due(until),
            corrects,
        )
        with self._new_line() as line:
            return switch.disable(line, valid_name(lock_name), said)

    def enable(self, lock_name: str, actor: str, source: str = "api") -> bool:
        """Take back this source's disable; the lock is enabled once no source disables it.

        Returns:
            whether this changed anything.
        """
        with self._new_line() as line:
            return switch.enable(
                line, valid_name(lock_name), _said("actor", actor, 200), _said("source", source, 400)
            )

    def disabling(self) -> set[tuple[str, str]]:
        """Return which sources disable which locks: pairs of lock name and source."""
        with self._new_line() as line:
            return {(row.lock_name, row.source) for row in line.rows(_DISABLING)}

    def step_down(self, lock_name: str, actor: str, reason: str) -> bool:
        """Ask the master of just now to give its term up; return whether there is one."""
        name, by = valid_name(lock_name), _said("actor", actor, 200)
        why = _said("reason", reason, 1000) if reason else ""
        with self._new_line() as line:
            rows = line.rows(_HELD, lock_name=name)
            return bool(rows) and _Locks(line).ask_step_down(Term(name, rows[0].term), by, why)

    def status(self, lock_name: str | None = None) -> list[LockStatus]:
        """Return all locks, or the one asked for: an empty list where nobody has used it yet."""
        name = None if lock_name is None else valid_name(lock_name)
        with self._new_line() as line:
            return reading.status(line, name)

    def history(self, lock_name: str, limit: int = 100) -> list[Event]:
        """Return what happened to the lock, newest first, 1,000 lines at most."""
        with self._new_line() as line:
            return history.read(line, valid_name(lock_name), limit)


class _Locks(LockVerbs):
    def __init__(self, line: Line) -> None:
        self._line = line


def _said(what: str, text: object, limit: int) -> str:
    if not isinstance(text, str) or not text.strip():
        raise SettingError(f"{what} is missing: say it in at most {limit} characters")
    if len(text) > limit:
        raise SettingError(f"{what} has {len(text)} characters: {limit} are the most")
    return storable(text.strip())


def _due(until: datetime | None) -> int | None:
    if until is None:
        return None
    if until.tzinfo is None:
        raise SettingError(f"until {until.isoformat()} has no time zone: write it like 2030-01-31T12:00:00+00:00")
    if until <= datetime.now(UTC):
        raise SettingError(f"until {until.isoformat()} is over already: it must be in the future")
    return int(until.timestamp() * 1000)
