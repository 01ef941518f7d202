"""The public functions for locks: enable, disable, ask to step down, read the status and the history."""

import functools
import os
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from masterjob.availability.report import AvailabilityReport
from masterjob.config.location import DatabaseLocation
from masterjob.config.settings import resolve_settings
from masterjob.lock_status import HistoryEvent, LockStatus
from masterjob.runtime.identity import default_actor
from masterjob.runtime.runtime import current_runtime
from masterjob.store.admin import LockAdmin
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.database import Database


def enable(
    lock_name: str,
    actor: str | None = None,
    *,
    database: str | None = None,
    database_file: str | Path | None = None,
) -> bool:
    """Undo `disable`, and return whether that changed anything.

    The lock stays disabled as long as something else disables it, such as a manifest.

    Args:
        lock_name: the name of the lock.
        actor: who does this, for the history; default: ``user@host``.
        database: the URL of the database; default: the one that this process's masters use, if it is just one,
            else the one of the environment or the config file.
        database_file: the file that holds the URL instead.

    Raises:
        SettingError: the lock name or the actor is not valid, or no database is configured.
        StoreUnavailable: the database did not answer, so the outcome is unknown.
    """
    return _lock_admin(database, database_file).enable(lock_name, actor or default_actor())


def disable(
    lock_name: str,
    reason: str,
    actor: str | None = None,
    *,
    until: datetime | None = None,
    database: str | None = None,
    database_file: str | Path | None = None,
) -> bool:
    """Stop the job of a lock on every instance, and keep it stopped until `enable`.

    The status and the history show the ``reason``, of at most 1,000 characters. With ``until``, a time with a time
    zone, the disable ends by itself. A lock that was never used can be disabled in advance. Returns False if the
    lock was disabled this way before; then the first reason stays. The rest is as for `enable`.
    """
    return _lock_admin(database, database_file).disable(lock_name, reason, actor or default_actor(), until=until)


def step_down(
    lock_name: str,
    reason: str,
    actor: str | None = None,
    *,
    database: str | None = None,
    database_file: str | Path | None = None,
) -> bool:
    """Ask the master of a lock to hand over to another instance; return False if the lock has no master.

    Arguments and errors are those of `disable`.
    """
    return _lock_admin(database, database_file).step_down(lock_name, actor or default_actor(), reason)


def status(
    lock_name: str | None = None, *, database: str | None = None, database_file: str | Path | None = None
) -> list[LockStatus]:
    """Return the status of one lock, or of all: its master and term, or who disabled it and why.

    The list is empty if the lock was never used. Other arguments and errors are those of `enable`.
    """
    return _lock_admin(database, database_file).status(lock_name)


def history(
    lock_name: str,
    limit: int = 100,
    *,
    database: str | None = None,
    database_file: str | Path | None = None,
) -> list[HistoryEvent]:
    """Return what happened to a lock, newest first: at most ``limit`` events, and never more than 1,000.

    Other arguments and errors are those of `enable`.
    """
    return _lock_admin(database, database_file).history(lock_name, limit)


def report(
    lock_name: str | None = None,
    since: timedelta = timedelta(days=30),
    *,
    database: str | None = None,
    database_file: str | Path | None = None,
) -> list[AvailabilityReport]:
    """Return for which share of the time since then the job of a lock ran, or of all locks, and why it did not.

    The history has at most 1,000 events of a lock, so that a report may cover less. Other arguments and errors are
    those of `enable`.
    """
    return _lock_admin(database, database_file).report(since, lock_name)


def lazy_lock_admin(database: str | None, database_file: str | Path | None) -> LockAdmin:
    """Return the operations on the locks of a database that is looked up at the first call.

    A master that this process starts until then decides which database that is.

    Raises:
        SettingError: a database is set already, and its URL is not valid.
    """
    located = _resolve(database, database_file, required=False)
    if located:
        Database(located)  # a wrong URL is reported here, and not to the first caller

    @functools.cache
    def found() -> tuple[DatabaseLocation, Database]:
        location, _ = _find_database(database, database_file)
        return location, Database(location, current_runtime().outage_log(location))

    def connect() -> BoundedConnection:
        return found()[1].connect_admin()

    def notify_elector(lock_name: str) -> None:
        current_runtime().notify_elector(found()[0], lock_name)

    return LockAdmin(connect, notify_elector)


def _lock_admin(database: str | None, database_file: str | Path | None) -> LockAdmin:
    location, found = _find_database(database, database_file)
    return found.lock_admin(on_write=partial(current_runtime().notify_elector, location))


def _find_database(database: str | None, database_file: str | Path | None) -> tuple[DatabaseLocation, Database]:
    running = current_runtime().only_instance()
    if database is None and database_file is None and running is not None:
        return running.location, running.database
    location = _resolve(database, database_file)
    return location, Database(location)


def _resolve(database: str | None, database_file: str | Path | None, *, required: bool = True) -> DatabaseLocation:
    options = {"database": database, "database_file": database_file}
    return resolve_settings(options, os.environ, None, require_database=required).database
