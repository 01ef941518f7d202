"""The composition root: the only file that knows every room; what a library user calls is here.

Nothing is decided here: settings are resolved, a job is handed to this process's instance (``runtime/``),
and the switch is passed on to the database.
"""

import functools
import os
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masterjob.config.documents import raise_if_unknown
from masterjob.config.settings import config_section, load_config_document, resolve_settings
from masterjob.election.values import validate_lock_name
from masterjob.errors import SettingError
from masterjob.jobs.python.job import CallableSpec, MasterJob
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
    """Take part in the election for ``validate_lock_name``: run ``master_job`` whenever this instance is master.

    Call it in every copy of the application; it returns at once. Durations are text (``30s``), a
    ``timedelta``, or a number of milliseconds. What is not given comes from the environment, the config file
    (``config`` or ``MASTERJOB_CONFIG``) or the defaults, each by itself.

    Coroutine functions run on the event loop that this is called in, or on one of our own. With
    ``handle_signals`` SIGTERM stops the jobs and releases the locks before it ends the process; a handler that
    was there before is called too, one that is set later instead.

    Raises:
        SettingError: an argument or setting is missing or wrong; the message says which, where, and what would do.
        TimingError: the timing is unsafe.

    Source: design sections 3.4 and 5.
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
    lock_job = CallableSpec(job, running_loop()).create_job(_runtime.thread_pool, settings.timing.stop_timeout)
    instance = _runtime.open_lock(name, lock_job, settings)
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
    return MasterJob(start=start, stop=stop)  # type: ignore[arg-type]  # it says what is wrong with them


def current_runtime() -> Runtime:
    """Everything that takes part in this process: what a controller shares with the library, if both are used."""
    return _runtime


# --- the switch, and what people read ---------------------------------------------------------------------


def enable(lock_name: str, actor: str | None = None, *, database: str | None = None) -> bool:
    """Take back what `disable` did; whatever else disables the lock still does. False if nothing was to do.

    ``database`` may be left out where it is configured, or where this process takes part on just one.

    Raises:
        SettingError: the lock name or actor is unfit, or no database is named.
        StoreUnavailable: the database gave no answer.
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
    """Have the master of the lock stop, and keep every instance from becoming master, until it is enabled.

    ``until`` (with a time zone) ends it by itself. False if it was disabled this way before: then the first reason
    is kept. A lock that nobody used yet may be disabled in advance. Errors are those of `enable`.
    """
    return _lock_admin(database).disable(lock_name, reason, actor or default_actor(), until=until)


def step_down(lock_name: str, reason: str, actor: str | None = None, *, database: str | None = None) -> bool:
    """Ask the lock's present master, wherever it is, to give its term to another; False if there is none."""
    return _lock_admin(database).step_down(lock_name, actor or default_actor(), reason)


def status(lock_name: str | None = None, *, database: str | None = None) -> list[LockStatus]:
    """Read who is master, or why nobody is, of one lock or of all."""
    return _lock_admin(database).status(lock_name)


def history(lock_name: str, limit: int = 100, *, database: str | None = None) -> list[HistoryEvent]:
    """Read the lock's transitions, the newest first: at most ``limit`` and never more than 1,000."""
    return _lock_admin(database).history(lock_name, limit)


def _lock_admin(database: str | None) -> LockAdmin:
    return _find_database(database).lock_admin()


def _find_database(database: str | None) -> Database:
    running = _runtime.only_database()
    if database is None and running is not None:
        return running
    return Database(resolve_settings({"database": database}, os.environ, None).database)


# --- the control API ----------------------------------------------------------------------------------------


def start_api(
    *, database: str | None = None, authenticator: "Authenticator | None" = None, **options: Any
) -> "ControlApi":
    """Serve the control API from this process, on a thread of its own; returns at once.

    ``options`` are those of the command line: ``host``, ``port`` (default: 3000 on this machine alone), ``auth``,
    ``tokens``, ``tls_cert``, ``tls_key``, ``allowed_hosts``, ``probe_port``, ``probe_host``. What is not given
    comes from the environment (``MASTERJOB_LISTEN_PORT``), the config file (``controlApi:``) or the defaults. A
    port that cannot be had is told in the log, and tried again. End it with ``close()``.

    Raises:
        SettingError: an option is wrong, or certificates or tokens cannot be used.

    Source: design section 6.5.
    """
    api = _control_api(database, authenticator)
    api.start(_listen_config(options))
    return api


def api_application(
    *, database: str | None = None, authenticator: "Authenticator | None" = None, **options: Any
) -> "Application":
    """Return the control API as an aiohttp application, to be mounted in yours by ``add_subapp``.

    ``options`` are those of `start_api`, of which ``auth``, ``tokens`` and ``allowed_hosts`` say who is let in;
    where it listens, and TLS, are your application's.
    """
    return _control_api(database, authenticator).application(_listen_config(options))


def _control_api(database: str | None, authenticator: "Authenticator | None") -> "ControlApi":
    from masterjob.app.control_api import ControlApi  # noqa: PLC0415 - who does not serve it need not wait for aiohttp

    find_database = functools.cache(
        lambda: _find_database(database)
    )  # at the first call: a lock may start until then
    return ControlApi(_runtime, LockAdmin(lambda: find_database().connect_admin()), authenticator=authenticator)


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
