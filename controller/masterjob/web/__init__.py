"""The HTTP server: control API, explorer, metrics and health. aiohttp is used only here.

    app.py          the application: its middlewares in order, its routes; mountable in another aiohttp application
    middleware.py   what every request passes: errors and headers, filter, authentication
    server.py       the thread of the application, and the ports that it listens on
    connections.py  limits for the connections of a server
    pool.py         blocking calls from the event loop: bounded threads, and readers that share one call
    health.py       liveness and readiness of this process
    config.py       where to listen and who may call: options, environment, config file, defaults
    interfaces.py   what the composition root passes in: protocols and values
    access/         who may call, and what every request is checked for
    api/            the calls: routes, requests, handlers, description, explorer
    metrics/        what an observer of the elections counts

A slow or silent database delays the calls that need it, and nothing else: not health, not metrics, not the
election. Nothing here can block the election.

What must not be here: SQL, settings of the election, decisions about mastership, Kubernetes. The composition root
passes in what this package needs of them. Importing the package does not import aiohttp; its modules do.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masterjob.web.app import application
    from masterjob.web.server import Server, start_server

__all__ = ["Server", "application", "start_server"]

_MODULE_BY_EXPORT = {"application": "app", "Server": "server", "start_server": "server"}


def __getattr__(name: str) -> Any:
    """Import the modules that need aiohttp on first use, so that the command line starts without it."""
    if name not in _MODULE_BY_EXPORT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only needed here

    return getattr(import_module(f"{__name__}.{_MODULE_BY_EXPORT[name]}"), name)
