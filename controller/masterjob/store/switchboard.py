"""What people do with locks: stop, start, ask to step down, look. Each call has a connection of its own.

Source: design sections 3.2 and 6.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from masterjob.election.errors import SettingError
from masterjob.election.values import Term
from masterjob.election.values import lock_name as valid_name
from masterjob.election.views import Event, LockStatus
from masterjob.store.connection.lines import Line
from masterjob.store.verbs import declarations, history, reading, switch
from masterjob.store.verbs.declarations import Declaration, Standing
from masterjob.store.verbs.history import storable
from masterjob.store.verbs.locks import LockVerbs

_LAST_YEAR = 9998
"""Of a disable that ends by itself: in the year after that, a time zone could lead beyond what can be written."""

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
    ) -> bool:
        """Stop the lock's job and keep it stopped, until ``until`` or until this source enables it again.

        Returns:
            whether this changed anything: False where the source disables it already. Then its first reason stays.
        """
        said = switch.Disabling(
            _said("reason", reason, 1000),
            _said("actor", actor, 200),
            _said("source", source, 400),
            _due(until),
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

    def declare(self, lock_name: str, said: Declaration) -> bool:
        """Have the switch of a resource be as it says; return whether that changed anything for people."""
        reason = None if said.reason is None else _said("reason", said.reason, 1000)
        said = replace(said, reason=reason, actor=_said("actor", said.actor[:200], 200))
        with self._new_line() as line:
            return declarations.declare(line, valid_name(lock_name), said)

    def retract(self, lock_name: str, source: str, actor: str) -> bool:
        """Forget what a resource has said, since it is gone; return whether it had disabled the lock."""
        with self._new_line() as line:
            return declarations.retract(line, valid_name(lock_name), source, actor[:200])

    def standing(self) -> list[Standing]:
        """Return what the database has of the switches of resources."""
        with self._new_line() as line:
            return declarations.standing(line)

    def step_down(self, lock_name: str, actor: str, reason: str) -> bool:
        """Ask the master of just now to give its term up; return whether there is one."""
        name, by = valid_name(lock_name), _said("actor", actor, 200)
        why = _said("reason", reason, 1000) if reason else ""
        with self._new_line() as line:
            rows = line.rows(_HELD, lock_name=name)
            return bool(rows) and _Locks(line).ask_step_down(Term(name, rows[0].term), by, why)

    def status(self, lock_name: str | None = None) -> list[LockStatus]:
        """Return all locks, or the one asked for: an empty list where nobody has used it yet."""
        names = None if lock_name is None else [valid_name(lock_name)]
        with self._new_line() as line:
            return reading.status(line, names)

    def status_of(self, lock_names: Iterable[str]) -> dict[str, LockStatus]:
        """Return those of these locks that were ever used."""
        with self._new_line() as line:
            return {lock.lock_name: lock for lock in reading.status(line, list(lock_names))}

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
    if until.year > _LAST_YEAR:
        raise SettingError(f"until {until.isoformat()} is too far away: the year {_LAST_YEAR} is the last")
    if until <= datetime.now(UTC):
        raise SettingError(f"until {until.isoformat()} is over already: it must be in the future")
    return int(until.timestamp() * 1000)
