"""Operations of people and resources on locks: disable, enable, ask to step down, read."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from masterjob.availability.report import AvailabilityReport
from masterjob.election.values import Term
from masterjob.election.values import validate_lock_name as valid_name
from masterjob.errors import SettingError
from masterjob.lock_status import HistoryEvent, LockStatus
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.queries import declared_switches, forgetting, history, names, status, switches
from masterjob.store.queries.declared_switches import StoredSwitch, SwitchSpec
from masterjob.store.queries.history import sanitize_text
from masterjob.store.queries.locks import LockQueries

_MAX_YEAR = 9998
"""The latest year of a timed disable: a time in 9999 could leave the range of dates in another time zone."""

MAX_PAGE_SIZE = 1_000
"""The most locks that are read at once."""

_CURRENT_TERM = "SELECT term FROM master_lock WHERE lock_name = :lock_name AND holder IS NOT NULL"


class LockAdmin:
    """The operations on locks, for any thread. ``connect`` returns the connection for one call.

    Every method raises `StoreUnavailable` if the database does not answer within a few seconds, and
    `SettingError` if an argument is not valid. ``on_write`` is called with the lock's name after each write; it
    must not block.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[BoundedConnection]],
        on_write: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._connect, self._on_write = connect, on_write

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
            whether anything changed: False if this source disables the lock already. Its first reason stays.
        """
        request = switches.DisableRequest(
            _checked_text("reason", reason, 1000),
            _checked_text("actor", actor, 200),
            _checked_text("source", source, 400),
            _checked_until_ms(until),
        )
        name = valid_name(lock_name)
        with self._connect() as db:
            changed = switches.disable(db, name, request)
        self._on_write(name)
        return changed

    def enable(self, lock_name: str, actor: str, source: str = "api") -> bool:
        """Remove this source's disable; the lock is enabled once no source disables it.

        Returns:
            whether anything changed.
        """
        name, actor = valid_name(lock_name), _checked_text("actor", actor, 200)
        source = _checked_text("source", source, 400)
        with self._connect() as db:
            changed = switches.enable(db, name, actor, source)
        self._on_write(name)
        return changed

    def apply_switch(self, lock_name: str, spec: SwitchSpec) -> bool:
        """Apply the switch that a resource declares; return whether that changed what people see."""
        name = valid_name(lock_name)
        reason = None if spec.reason is None else _checked_text("reason", spec.reason, 1000)
        spec = replace(spec, reason=reason, actor=_checked_text("actor", spec.actor[:200], 200))
        with self._connect() as db:
            changed = declared_switches.apply_switch(db, name, spec)
        self._on_write(name)
        return changed

    def remove_switch(self, lock_name: str, source: str, actor: str) -> bool:
        """Remove the switch of a resource that is gone; return whether it had disabled the lock."""
        name = valid_name(lock_name)
        with self._connect() as db:
            changed = declared_switches.remove_switch(db, name, source, actor[:200])
        self._on_write(name)
        return changed

    def list_switches(self) -> list[StoredSwitch]:
        """Return the switches of resources that the database has."""
        with self._connect() as db:
            return declared_switches.list_switches(db)

    def explain_unknown(self, lock_name: str) -> str:
        """Return that the lock was never used, and the nearest name that was; empty if it was."""
        name = valid_name(lock_name)
        with self._connect() as db:
            return names.explain_unknown(db, name)

    def forget(self, lock_name: str, unused_for: timedelta = timedelta()) -> str | None:
        """Delete a lock that is not used any more, with its history; return None, or why it is kept.

        It must be free and have no switch, and nothing may have happened to it for ``unused_for``; if instances
        are alive, for six minutes at least, because one of them might wait for it.
        """
        name = valid_name(lock_name)
        with self._connect() as db:
            kept = forgetting.forget(db, name, unused_for)
        self._on_write(name)
        return kept

    def list_unused(self, unused_for: timedelta) -> list[str]:
        """Return the free locks without a switch to which nothing has happened for so long."""
        found: list[str] = []
        with self._connect() as db:
            while page := forgetting.list_unused(db, unused_for, found[-1] if found else "", MAX_PAGE_SIZE):
                found += page
        return found

    def step_down(self, lock_name: str, actor: str, reason: str) -> bool:
        """Ask the current master to give up its term; return False if there is no master."""
        name, actor = valid_name(lock_name), _checked_text("actor", actor, 200)
        reason = _checked_text("reason", reason, 1000) if reason else ""
        with self._connect() as db:
            rows = db.fetch_all(_CURRENT_TERM, lock_name=name)
            requested = bool(rows) and LockQueries(db).request_step_down(Term(name, rows[0].term), actor, reason)
        self._on_write(name)
        return requested

    def status(self, lock_name: str | None = None, *, after: str = "") -> list[LockStatus]:
        """Return all locks that come after the name ``after``, or only ``lock_name`` if it was ever used."""
        if lock_name is not None:
            name = valid_name(lock_name)
            with self._connect() as db:
                return status.read_named(db, [name])
        locks: list[LockStatus] = []
        while page := self.status_page(locks[-1].lock_name if locks else after, MAX_PAGE_SIZE):
            locks += page
            if len(page) < MAX_PAGE_SIZE:
                break
        return locks

    def status_page(self, after: str, limit: int, *, only_disabled: bool = False) -> list[LockStatus]:
        """Return up to ``limit`` locks, in the database's order of names, that come after the name ``after``."""
        with self._connect() as db:
            return status.read_page(db, after, limit, only_disabled=only_disabled)

    def status_of(self, lock_names: Iterable[str]) -> dict[str, LockStatus]:
        """Return those of these locks that were ever used."""
        with self._connect() as db:
            return {lock.lock_name: lock for lock in status.read_named(db, lock_names)}

    def history(self, lock_name: str, limit: int = 100) -> list[HistoryEvent]:
        """Return the lock's transitions, newest first, at most 1,000."""
        name = valid_name(lock_name)
        with self._connect() as db:
            return history.read_events(db, name, limit)

    def report(self, since: timedelta, lock_name: str | None = None) -> list[AvailabilityReport]:
        """Return for all locks, or only ``lock_name``, for which share of the time since then the job ran.

        The history has at most 1,000 events of a lock, so that a report may cover less than was asked for.
        """
        name = None if lock_name is None else valid_name(lock_name)
        with self._connect() as db:
            return history.read_reports(db, since, name)


def _checked_text(field_name: str, text: object, limit: int) -> str:
    if not isinstance(text, str) or not text.strip():
        raise SettingError(f"{field_name} is required (at most {limit} characters)")
    if len(text) > limit:
        raise SettingError(f"{field_name} has {len(text)} characters; at most {limit} are allowed")
    return sanitize_text(text.strip())


def _checked_until_ms(until: datetime | None) -> int | None:
    if until is None:
        return None
    if until.tzinfo is None:
        raise SettingError(f"until {until.isoformat()} has no time zone: write it like 2030-01-31T12:00:00+00:00")
    if until.year > _MAX_YEAR:
        raise SettingError(f"until {until.isoformat()} is too far away: the latest year is {_MAX_YEAR}")
    if until <= datetime.now(UTC):
        raise SettingError(f"until {until.isoformat()} is in the past: it must be in the future")
    return int(until.timestamp() * 1000)
