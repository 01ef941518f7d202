"""The public functions: they resolve the settings and call this process's `Runtime`, or the database."""

import os
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masterjob.config.documents import raise_if_unknown
from masterjob.config.settings import config_section, load_config_document, resolve_settings
from masterjob.election.values import validate_lock_name
from masterjob.errors import SettingError
from masterjob.jobs.python.job import MasterJob, PythonJob
from masterjob.lock_status import HistoryEvent, LockStatus
from masterjob.runtime.handle import Master
from masterjob.runtime.identity import default_actor
from masterjob.runtime.instance import running_loop
from masterjob.runtime.runtime import Runtime
from masterjob.store.admin import LockAdmin
from masterjob.store.database import Database
from masterjob.web.config import CONTROL_API_SECTION, ListenConfig, resolve_listen_config

if TYPE_CHECKING:
    from aiohttp.web import Application

    from masterjob.app.control_api import ControlApi
    from masterjob.web.interfaces import Authenticator

Duration = str | float | timedelta

_runtime = Runtime()


def start_master(  # noqa: PLR0913 - the arguments are the product's surface
    *,
    lock_name: str | None = None,
    master_job: object = None,
    database: str | None = None,
    config: str | Path | None = None,
    init_delay: Duration | None = None,
    check_master_interval: Duration | None = None,
    heartbeat_interval: Duration | None = None,
    max_heartbeat_retry_count: int | None = None,
    lease_duration: Duration | None = None,
    stop_timeout: Duration | None = None,
    lost_policy: str | None = None,
    handle_signals: bool = True,
) -> Master:
    """Compete for a lock, and run ``master_job`` while this instance is its master. Returns at once.

    Call it in every copy of the application. What is not given comes from the environment, the config file, or the
    default. A duration is a text (``"30s"``, ``"1m30s"``), a ``timedelta``, or a number of milliseconds.

    Args:
        lock_name: the name of the lock, required; the copies that use the same name compete.
        master_job: a `MasterJob`, or an object or mapping with ``start`` and maybe ``stop``; required. Coroutine
            functions run on the event loop that this is called in; without one, on a loop of this package.
        database: the URL, such as ``postgresql://user:password@host/name``; required, here or elsewhere.
        config: the path of the config file; default: ``MASTERJOB_CONFIG`` of the environment, or none.
        init_delay: from the call to the first attempt to become master; default: 1 s.
        check_master_interval: between two checks for a free lock, if the database does not notify; default: 30 s.
        heartbeat_interval: between two renewals of the lease; default: 8 s.
        max_heartbeat_retry_count: failed renewals in a row after which the master stops its job; default: 3.
        lease_duration: default: three heartbeat intervals, or more if the stop timeout needs it.
        stop_timeout: how long ``stop`` may take; default: 2 s.
        lost_policy: if ``stop`` has not returned when the lease ends: ``"stop"`` (the default) waits for it,
            ``"exit"`` ends the process at once.
        handle_signals: on SIGTERM, stop the jobs and release the locks, then end the process as before. A handler
            that was set earlier is still called. Works only if this is called in the main thread.

    Returns:
        A handle: whether this instance is master, its term, and ``close()``.

    Raises:
        SettingError: a setting is missing or not valid; the message says which, where, and what fixes it.
        TimingError: the lease is too short for the heartbeat interval and the stop timeout.
    """
    if lock_name is None:
        raise SettingError("lock_name is not specified: start_master needs the name of the lock to compete for")
    name, job = validate_lock_name(lock_name), _to_master_job(master_job)
    options: dict[str, object] = {
        "database": database,
        "init_delay": init_delay,
        "check_master_interval": check_master_interval,
        "heartbeat_interval": heartbeat_interval,
        "max_heartbeat_retry_count": max_heartbeat_retry_count,
        "lease_duration": lease_duration,
        "stop_timeout": stop_timeout,
        "lost_policy": lost_policy,
    }
    settings = resolve_settings(options, os.environ, config)
    python_job = PythonJob(job.start, job.stop, _runtime.thread_pool, running_loop())
    instance = _runtime.open_lock(name, python_job, settings)
    if handle_signals:
        _runtime.install_sigterm_handler()
    return Master(instance, name, settings.timing.stop_timeout)


def _to_master_job(master_job: object) -> MasterJob:
    if isinstance(master_job, MasterJob):
        return master_job
    if master_job is None:
        raise SettingError("master_job is not specified: pass MasterJob(start=…, stop=…)")
    if isinstance(master_job, Mapping):
        start, stop = master_job.get("start"), master_job.get("stop")
    else:
        start, stop = getattr(master_job, "start", None), getattr(master_job, "stop", None)
    return MasterJob(start=start, stop=stop)  # type: ignore[arg-type]  # MasterJob checks them


def current_runtime() -> Runtime:
    """Return the runtime of this process, which a controller shares with the library."""
    return _runtime


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


def _lock_admin(database: str | None) -> LockAdmin:
    running = _runtime.only_instance()
    if database is None and running is not None:
        return running.database.lock_admin(on_write=partial(_runtime.notify_elector, running.url))
    url = resolve_settings({"database": database}, os.environ, None).database
    sql_database = Database(url)
    sql_database.prepare()  # a lock may be disabled before any instance was ever started
    return sql_database.lock_admin(on_write=partial(_runtime.notify_elector, url))


def start_api(
    *, database: str | None = None, authenticator: "Authenticator | None" = None, **options: Any
) -> "ControlApi":
    """Serve the control API on a thread of this process; return it, with its ``port`` and ``close()``.

    Call it before `start_master`, so that the metrics count everything. If the port is in use, an error is logged
    and binding is retried.

    Args:
        database: the URL of the database; default: as for `enable`.
        authenticator: decides who may call, if ``auth`` is ``"kubernetes"``.
        **options: as on the command line: ``host``, ``port`` (default: 3000 on 127.0.0.1; 0: any free port),
            ``auth``, ``tokens``, ``tls_cert``, ``tls_key``, ``allowed_hosts``, ``probe_port``, ``probe_host``.
            What is not given comes from the environment (``MASTERJOB_LISTEN_PORT``), the config file, or defaults.

    Raises:
        SettingError: an option, a certificate or the file of tokens is not valid.
    """
    api = _control_api(database, authenticator)
    api.start(_listen_config(options))
    return api


def api_application(
    *, database: str | None = None, authenticator: "Authenticator | None" = None, **options: Any
) -> "Application":
    """Return the control API as an aiohttp application, to mount in yours with ``add_subapp``.

    Arguments and errors are those of `start_api`. Only ``auth``, ``tokens`` and ``allowed_hosts`` have an effect.
    """
    return _control_api(database, authenticator).application(_listen_config(options))


def _control_api(database: str | None, authenticator: "Authenticator | None") -> "ControlApi":
    from masterjob.app.control_api import ControlApi  # noqa: PLC0415 - aiohttp is loaded only if needed

    return ControlApi(_runtime, lambda: _lock_admin(database), authenticator=authenticator)


def _listen_config(options: Mapping[str, object]) -> ListenConfig:
    for name in options:
        raise_if_unknown(name, [each.name for each in fields(ListenConfig)], f"argument {name}")
    document = load_config_document(os.environ, None)
    if document is None:
        return resolve_listen_config(options, os.environ)
    return resolve_listen_config(
        options,
        os.environ,
        config_section(document, CONTROL_API_SECTION),
        document.field_locator(CONTROL_API_SECTION),
    )
