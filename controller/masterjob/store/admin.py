"""What people do with locks: stop, start, ask to step down, look. Each call has a connection of its own.

Source: design sections 3.2 and 6.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from masterjob.election.values import Term
from masterjob.election.values import validate_lock_name as valid_name
from masterjob.errors import SettingError
from masterjob.lock_status import HistoryEvent, LockStatus
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.queries import declarations, history
from masterjob.store.queries import status as status_module
from masterjob.store.queries import switches as switches_module
from masterjob.store.queries.declarations import StoredSwitch, SwitchSpec
from masterjob.store.queries.history import sanitize_text
from masterjob.store.queries.locks import LockQueries

_MAX_YEAR = 9998
"""Of a disable that ends by itself: in the year after that, a time zone could lead beyond what can be written."""

_CURRENT_TERM = "SELECT term FROM master_lock WHERE lock_name = :lock_name AND holder IS NOT NULL"


class LockAdmin:
    """The people's side of the database. May be used by many threads.

    Every method raises `StoreUnavailable` when the database does not answer in a few seconds, and
    `SettingError` when what was said cannot be. ``on_write`` is called with the lock's name after each write; it
    must not block.
    """

    def __init__(
        self, new_connection: Callable[[], BoundedConnection], on_write: Callable[[str], None] = lambda _: None
    ) -> None:
        self._new_connection, self._on_write = new_connection, on_write

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
        request = switches_module.DisableRequest(
            _checked_text("reason", reason, 1000),
            _checked_text("actor", actor, 200),
            _checked_text("source", source, 400),
            _checked_until_ms(until),
        )
        with self._new_connection() as db:
            changed = switches_module.disable(db, valid_name(lock_name), request)
        self._on_write(lock_name)
        return changed

    def enable(self, lock_name: str, actor: str, source: str = "api") -> bool:
        """Take back this source's disable; the lock is enabled once no source disables it.

        Returns:
            whether this changed anything.
        """
        with self._new_connection() as db:
            changed = switches_module.enable(
                db, valid_name(lock_name), _checked_text("actor", actor, 200), _checked_text("source", source, 400)
            )
        self._on_write(lock_name)
        return changed

    def apply_switch(self, lock_name: str, spec: SwitchSpec) -> bool:
        """Have the switch of a resource be as it says; return whether that changed anything for people."""
        reason = None if spec.reason is None else _checked_text("reason", spec.reason, 1000)
        spec = replace(spec, reason=reason, actor=_checked_text("actor", spec.actor[:200], 200))
        with self._new_connection() as db:
            changed = declarations.apply_switch(db, valid_name(lock_name), spec)
        self._on_write(lock_name)
        return changed

    def remove_switch(self, lock_name: str, source: str, actor: str) -> bool:
        """Forget what a resource has said, since it is gone; return whether it had disabled the lock."""
        with self._new_connection() as db:
            changed = declarations.remove_switch(db, valid_name(lock_name), source, actor[:200])
        self._on_write(lock_name)
        return changed

    def list_switches(self) -> list[StoredSwitch]:
        """Return what the database has of the switches of resources."""
        with self._new_connection() as db:
            return declarations.list_switches(db)

    def step_down(self, lock_name: str, actor: str, reason: str) -> bool:
        """Ask the master of just now to give its term up; return whether there is one."""
        name, checked_actor = valid_name(lock_name), _checked_text("actor", actor, 200)
        checked_reason = _checked_text("reason", reason, 1000) if reason else ""
        with self._new_connection() as db:
            rows = db.fetch_all(_CURRENT_TERM, lock_name=name)
            requested = bool(rows) and _AdminLockQueries(db).request_step_down(
                Term(name, rows[0].term), checked_actor, checked_reason
            )
        self._on_write(lock_name)
        return requested

    def status(self, lock_name: str | None = None) -> list[LockStatus]:
        """Return all locks, or the one asked for: an empty list where nobody has used it yet."""
        names = None if lock_name is None else [valid_name(lock_name)]
        with self._new_connection() as db:
            return status_module.status(db, names)

    def status_of(self, lock_names: Iterable[str]) -> dict[str, LockStatus]:
        """Return those of these locks that were ever used."""
        with self._new_connection() as db:
            return {lock.lock_name: lock for lock in status_module.status(db, list(lock_names))}

    def history(self, lock_name: str, limit: int = 100) -> list[HistoryEvent]:
        """Return what happened to the lock, newest first, 1,000 lines at most."""
        with self._new_connection() as db:
            return history.read(db, valid_name(lock_name), limit)


class _AdminLockQueries(LockQueries):
    def __init__(self, db: BoundedConnection) -> None:
        self._db = db


def _checked_text(field_name: str, text: object, limit: int) -> str:
    if not isinstance(text, str) or not text.strip():
        raise SettingError(f"{field_name} is missing: say it in at most {limit} characters")
    if len(text) > limit:
        raise SettingError(f"{field_name} has {len(text)} characters: {limit} are the most")
    return sanitize_text(text.strip())


def _checked_until_ms(until: datetime | None) -> int | None:
    if until is None:
        return None
    if until.tzinfo is None:
        raise SettingError(f"until {until.isoformat()} has no time zone: write it like 2030-01-31T12:00:00+00:00")
    if until.year > _MAX_YEAR:
        raise SettingError(f"until {until.isoformat()} is too far away: the year {_MAX_YEAR} is the last")
    if until <= datetime.now(UTC):
        raise SettingError(f"until {until.isoformat()} is over already: it must be in the future")
    return int(until.timestamp() * 1000)
