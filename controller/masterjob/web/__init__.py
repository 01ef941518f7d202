"""What people and probes see over HTTP: control API, explorer, metrics, health. aiohttp lives only here.

    api/        every call: what it takes, who does it, how it is described and shown
    access/     who is let in, and what every request passes before anybody does anything
    metrics/    what an observer of the election counts
    health.py   whether this process is alive, and ready
    app.py      the application: all of that, mountable in another aiohttp application
    server.py   the thread on which it runs, and the ports; connections.py bounds its connections
    pool.py    the few threads on which this room waits for the database
    config.py  where to listen and who is let in, from options, environment, config file and defaults
    interfaces.py    what this room is handed: the switchboard, who may, whether all is well; protocols and values

A slow or silent database holds up the calls that ask it, and nothing else: not health, not metrics, not the
election. Nothing in here can make the election wait.

What must not be here: SQL, settings of the election, decisions about who is master, Kubernetes. What this room
needs of them it is handed by the composition root. Importing the package imports no aiohttp; its parts do.

Source: design sections 4 and 6.5.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masterjob.web.app import application
    from masterjob.web.server import Server, start_server

__all__ = ["Server", "application", "start_server"]

_MODULE_BY_EXPORT = {"application": "app", "Server": "server", "start_server": "server"}


def __getattr__(name: str) -> Any:
    """Load what needs aiohttp when it is asked for, so that the command line does not wait for it."""
    if name not in _MODULE_BY_EXPORT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only needed here

    return getattr(import_module(f"{__name__}.{_MODULE_BY_EXPORT[name]}"), name)
