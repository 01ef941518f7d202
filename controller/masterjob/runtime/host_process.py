"""What this process is for: whether an instance can work in it, and whether it serves the application at all."""

import os
import sys
from types import ModuleType
from typing import Any

from masterjob.errors import SettingError


def require_real_threads() -> None:
    """Check that threads are threads.

    Raises:
        SettingError: gevent or eventlet has replaced them by greenlets. A heartbeat or a watchdog would wait until
            some other greenlet yields, and the reader of a pipe would stop them all.
    """
    gevent, eventlet = _module("gevent.monkey"), _module("eventlet.patcher")
    if gevent is not None and (gevent.is_module_patched("threading") or gevent.is_module_patched("_thread")):
        patched_by, remedy = "gevent", "monkey.patch_all(thread=False)"
    elif eventlet is not None and eventlet.is_monkey_patched("thread"):
        patched_by, remedy = "eventlet", "eventlet.monkey_patch(thread=False)"
    else:
        return
    raise SettingError(
        f"{patched_by} has replaced the threads of this process, and heartbeats need real ones: keep them "
        f"({remedy}), or run the job in a process of its own, such as masterjob run"
    )


def describe_reloader() -> str | None:
    """Return what this process is if it only watches files for a reloader; None if it serves the application.

    Both reloaders load the application in the watching process too, which keeps the code from before an edit.

    Raises:
        SettingError: this process serves, and the one that watches takes part already.
    """
    if _is_serving_child():
        if os.environ.get(_WATCHER_VARIABLE) == str(os.getppid()):
            raise SettingError(
                "the reloader's parent process competes for locks too, with the code from before an edit: call "
                "start_master only if os.environ.get('WERKZEUG_RUN_MAIN') == 'true' or the reloader is off"
            )
        return None
    if _is_watched_by_django():
        return "this process only watches files for runserver; the process that serves competes for the lock"
    if _is_watched_by_flask():
        return "this process only watches files for flask run; the process that serves competes for the lock"
    if _module("werkzeug") is not None:  # app.run(debug=True) may follow
        os.environ[_WATCHER_VARIABLE] = str(os.getpid())
    return None


_WATCHER_VARIABLE = "MASTERJOB_WATCHER_PID"
"""Tells a serving child that its parent takes part."""


def _is_serving_child() -> bool:
    return os.environ.get("WERKZEUG_RUN_MAIN") == "true" or os.environ.get("RUN_MAIN") == "true"


def _is_watched_by_django() -> bool:
    command, *options = [*sys.argv[1:], ""]
    has_reloader = command in ("runserver", "runserver_plus") and "--noreload" not in options
    return has_reloader and _module("django") is not None


def _is_watched_by_flask() -> bool:
    """Return whether ``flask run`` loads the application, with its reloader, as the running command says."""
    click, flask = _module("click"), _module("flask.cli")
    context: Any = None if click is None or flask is None else click.get_current_context(silent=True)
    while context is not None and context.command is not flask.run_command:  # type: ignore[union-attr]
        context = context.parent
    if context is None:
        return False
    reload = context.params.get("reload")
    return bool(_module("flask.helpers").get_debug_flag() if reload is None else reload)  # type: ignore[union-attr]


def _module(name: str) -> ModuleType | Any | None:
    """Return a module if this process has loaded it."""
    return sys.modules.get(name)
