"""The public functions for locks: enable, disable, ask to step down, read the status and the history."""

import functools
import os
from datetime import datetime, timedelta
from functools import partial

from masterjob.availability.report import AvailabilityReport
from masterjob.config.settings import resolve_settings
from masterjob.lock_status import HistoryEvent, LockStatus
from masterjob.runtime.identity import default_actor
from masterjob.runtime.runtime import current_runtime
from masterjob.store.admin import LockAdmin
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.database import Database


def enable(lock_name: str, actor: str | None = None, *, database: str | None = None) -> bool:
    """Undo `disable`, and return whether that changed anything.

    The lock stays disabled as long as something else disables it, such as a manifest.

    Args:
        lock_name: the name of the lock.
        actor: who does this, for the history; default: ``user@host``.
        database: the URL of the database; default: the one that this process's masters use, if it is just one,
            else the one of the environment or the config file.

    Raises:
        SettingError: the lock name or the actor is not valid, or no database is configured.
        StoreUnavailable: the database did not answer, so the outcome is unknown.
    """
    return _lock_admin(database).enable(lock_name, actor or default_actor())


def disable(
    lock_name: str,
    reason: str,
    actor: str | None = None,
    *,
    until: datetime | None = None,
    database: str | None = None,
) -> bool:
    """Stop the job of a lock on every instance, and keep it stopped until `enable`.

    The status and the history show the ``reason``, of at most 1,000 characters. With ``until``, a time with a time
    zone, the disable ends by itself. A lock that was never used can be disabled in advance. Returns False if the
    lock was disabled this way before; then the first reason stays. The rest is as for `enable`.
    """
    return _lock_admin(database).disable(lock_name, reason, actor or default_actor(), until=until)


def step_down(lock_name: str, reason: str, actor: str | None = None, *, database: str | None = None) -> bool:
    """Ask the master of a lock to hand over to another instance; return False if the lock has no master.

    Arguments and errors are those of `disable`.
    """
    return _lock_admin(database).step_down(lock_name, actor or default_actor(), reason)


def status(lock_name: str | None = None, *, database: str | None = None) -> list[LockStatus]:
    """Return the status of one lock, or of all: its master and term, or who disabled it and why.

    The list is empty if the lock was never used. Other arguments and errors are those of `enable`.
    """
    return _lock_admin(database).status(lock_name)


def history(lock_name: str, limit: int = 100, *, database: str | None = None) -> list[HistoryEvent]:
    """Return what happened to a lock, newest first: at most ``limit`` events, and never more than 1,000.

    Other arguments and errors are those of `enable`.
    """
    return _lock_admin(database).history(lock_name, limit)


def report(
    lock_name: str | None = None, since: timedelta = timedelta(days=30), *, database: str | None = None
) -> list[AvailabilityReport]:
    """Return for which share of the time since then the job of a lock ran, or of all locks, and why it did not.

    The history has at most 1,000 events of a lock, so that a report may cover less. Other arguments and errors are
    those of `enable`.
    """
    return _lock_admin(database).report(since, lock_name)


def lazy_lock_admin(database: str | None) -> LockAdmin:
    """Return the operations on the locks of a database that is looked up at the first call.

    A master that this process starts until then decides which database that is.
    """

    @functools.cache
    def found() -> tuple[str, Database]:
        return _find_database(database)

    def connect() -> BoundedConnection:
        return found()[1].connect_admin()

    def notify_elector(lock_name: str) -> None:
        current_runtime().notify_elector(found()[0], lock_name)

    return LockAdmin(connect, notify_elector)


def _lock_admin(database: str | None) -> LockAdmin:
    url, found = _find_database(database)
    return found.lock_admin(on_write=partial(current_runtime().notify_elector, url))


def _find_database(database: str | None) -> tuple[str, Database]:
    running = current_runtime().only_instance()
    if database is None and running is not None:
        return running.url, running.database
    url = resolve_settings({"database": database}, os.environ, None).database
    return url, Database(url)
