"""What people and probes see over HTTP: control API, explorer, metrics, health. aiohttp lives only here.

    ports.py      what this room is handed: the switchboard, who may, whether all is well; protocols and values
    options.py    where to listen and who is let in, from options, environment, config file and defaults
    app.py        the application: routes and what every request passes; mountable in another aiohttp application
    gates.py      what every request passes: sizes, rates, hosts, origins, who it is and may
    auth.py       who is let in without a token, and the cache before a reviewer that is slow
    tokens.py     the file of tokens
    rates.py      how often something may happen
    routes.py     every call, what it takes and what it answers
    asked.py      what a request says, from a form, JSON or the query, bounded
    controls.py   the switch: the two calls of the existing wire contract, and step-down
    locks.py      what can be read: locks, controls, history
    openapi.py    the description of all that, in OpenAPI 3.1; explorer.py shows it
    calls.py      the few threads on which this room waits for the database; rounds.py has readers share them
    metrics.py    what an observer of the election counts; series.py has the numbers, reasons.py why a term ended,
                  labels.py bounds what is counted by
    health.py     whether this process is alive, and ready
    server.py     the thread on which all this runs, and the ports; doors.py bounds its connections

A slow or silent database holds up the calls that ask it, and nothing else: not health, not metrics, not the
election. Nothing in here can make the election wait.

What must not be here: SQL, settings of the election, decisions about who is master, Kubernetes. What this room
needs of them it is handed by the composition root. Importing the package imports no aiohttp; its parts do.

Source: design sections 4 and 6.5.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masterjob.web.app import application
    from masterjob.web.server import Server, start

__all__ = ["Server", "application", "start"]

_HOMES = {"application": "app", "Server": "server", "start": "server"}


def __getattr__(name: str) -> Any:
    """Load what needs aiohttp when it is asked for, so that the command line does not wait for it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only needed here

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
