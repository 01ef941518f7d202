"""The public functions that start something: a master, the control API; those for locks are in admin.py.

They resolve the settings and hand over to this process's `Runtime`, or to the database.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masterjob.app.admin import lazy_lock_admin
from masterjob.config.documents import raise_if_unknown
from masterjob.config.settings import config_section, load_config_document, resolve_settings
from masterjob.election.values import validate_lock_name
from masterjob.errors import SettingError
from masterjob.jobs.python.job import CallableSpec, MasterJob, as_master_job
from masterjob.log_fields import log_fields
from masterjob.runtime.handle import IdleMaster, Master
from masterjob.runtime.host_process import describe_reloader, require_real_threads
from masterjob.runtime.instance import running_loop
from masterjob.runtime.runtime import current_runtime
from masterjob.web.config import CONTROL_API_SECTION, ListenConfig, resolve_listen_config

if TYPE_CHECKING:
    from aiohttp.web import Application

    from masterjob.app.control_api import ControlApi
    from masterjob.web.interfaces import Authenticator

logger = logging.getLogger("masterjob")

Duration = str | float | timedelta


def start_master(  # noqa: PLR0913 - the arguments are the product's surface
    *,
    lock_name: str | None = None,
    master_job: object = None,
    database: str | None = None,
    database_file: str | Path | None = None,
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

    Call it in every copy of the application. In a process that only watches files for the reloader of Flask or
    Django, it does nothing: the process that serves competes.

    What is not given comes from the environment, the config file, or the default. A duration is a text (``"30s"``,
    ``"1m30s"``), a ``timedelta``, or a number of milliseconds.

    Args:
        lock_name: the name of the lock, required; the copies that use the same name compete.
        master_job: a `MasterJob`, or an object or mapping with ``start`` or ``run``; required. Coroutine
            functions run on the event loop that this is called in; without one, on a loop of this package.
        database: the URL, such as ``postgresql://user:password@host/name``; required, here or elsewhere.
        database_file: the file that holds the URL instead, read again for each new connection.
        config: the path of the config file; default: ``MASTERJOB_CONFIG`` of the environment, or none.
        init_delay: from the call to the first attempt to become master; default: 1 s.
        check_master_interval: between two checks for a free lock, if the database does not notify; default: 30 s.
        heartbeat_interval: between two renewals of the lease; default: 8 s.
        max_heartbeat_retry_count: how many retries of a failed renewal are evenly spaced over the time until the
            master has to stop its job; more follow shortly before it. 0 waits for the next heartbeat. Default: 3.
        lease_duration: default: three heartbeat intervals, or more if the stop timeout needs it.
        stop_timeout: how long ``stop`` may take; default: 2 s.
        lost_policy: if ``stop`` has not returned when the lease ends: ``"stop"`` (the default) waits for it,
            ``"exit"`` ends the process at once.
        handle_signals: on SIGTERM, stop the jobs and release the locks, then end the process as before. Another
            SIGTERM meanwhile changes nothing. A handler that was set earlier is still called. Works only if this
            is called in the main thread.

    Returns:
        A handle: whether this instance is master, its term, and ``close()``.

    Raises:
        SettingError: a setting is missing or not valid; the message says which, where, and what fixes it. Also if
            gevent or eventlet has replaced the threads of this process.
        TimingError: the lease is too short for the heartbeat interval and the stop timeout.
    """
    require_real_threads()
    if lock_name is None:
        raise SettingError("lock_name is not specified: start_master needs the name of the lock to compete for")
    name, job = validate_lock_name(lock_name), _to_master_job(master_job)
    options: dict[str, object] = {
        "database": database,
        "database_file": database_file,
        "init_delay": init_delay,
        "check_master_interval": check_master_interval,
        "heartbeat_interval": heartbeat_interval,
        "max_heartbeat_retry_count": max_heartbeat_retry_count,
        "lease_duration": lease_duration,
        "stop_timeout": stop_timeout,
        "lost_policy": lost_policy,
    }
    settings = resolve_settings(options, os.environ, config)
    if (reason := describe_reloader()) is not None:
        logger.info("%s: %s", name, reason, extra=log_fields(lock=name))
        return IdleMaster(name, reason)
    runtime, timeout = current_runtime(), settings.timing.stop_timeout
    lock_job = CallableSpec(job, running_loop()).create_job(runtime.thread_pool, timeout)
    instance = runtime.open_lock(name, lock_job, settings)
    if handle_signals:
        runtime.install_sigterm_handler()
    return Master(instance, name, timeout)


def _to_master_job(master_job: object) -> MasterJob:
    if master_job is None:
        raise SettingError("master_job is not specified: pass MasterJob(start=…, stop=…) or MasterJob(run=…)")
    return as_master_job(master_job)


def start_api(
    *,
    database: str | None = None,
    database_file: str | Path | None = None,
    authenticator: "Authenticator | None" = None,
    **options: Any,
) -> "ControlApi":
    """Serve the control API on a thread of this process; return it, with its ``port`` and ``close()``.

    Call it before `start_master`, so that the metrics count everything. If the port is in use, an error is logged
    and binding is retried.

    Args:
        database: the URL of the database; default: as for `enable`.
        database_file: the file that holds the URL instead.
        authenticator: decides who may call, if ``auth`` is ``"kubernetes"``.
        **options: as on the command line: ``host``, ``port`` (default: 3000 on 127.0.0.1; 0: any free port),
            ``auth``, ``tokens``, ``tls_cert``, ``tls_key``, ``allowed_hosts``, ``probe_port``, ``probe_host``.
            What is not given comes from the environment (``MASTERJOB_LISTEN_PORT``), the config file, or defaults.

    Raises:
        SettingError: an option, the database's URL, a certificate or the file of tokens is not valid.
    """
    require_real_threads()
    api = _control_api(database, database_file, authenticator)
    api.start(_listen_config(options))
    return api


def api_application(
    *,
    database: str | None = None,
    database_file: str | Path | None = None,
    authenticator: "Authenticator | None" = None,
    **options: Any,
) -> "Application":
    """Return the control API as an aiohttp application, to mount in yours with ``add_subapp``.

    Arguments and errors are those of `start_api`. Only ``auth``, ``tokens`` and ``allowed_hosts`` have an effect.
    """
    return _control_api(database, database_file, authenticator).application(_listen_config(options))


def _control_api(
    database: str | None, database_file: str | Path | None, authenticator: "Authenticator | None"
) -> "ControlApi":
    from masterjob.app.control_api import ControlApi  # noqa: PLC0415 - aiohttp is loaded only if needed

    return ControlApi(current_runtime(), lazy_lock_admin(database, database_file), authenticator=authenticator)


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
