"""The application: every route behind its gates. It can be mounted in another aiohttp application.

other.add_subapp("/masterjob", application(Parts(board=…, health=…, metrics=…), auth=Loopback()))
"""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from masterjob.election.clock import clock
from masterjob.web.access.auth import Doorman, Loopback
from masterjob.web.access.gates import Gates, answered, dress
from masterjob.web.api import openapi, routes
from masterjob.web.api.asked import Asked
from masterjob.web.api.controls import Controls
from masterjob.web.api.explorer import Explorer
from masterjob.web.api.locks import Locks
from masterjob.web.calls import Calls
from masterjob.web.health import Health
from masterjob.web.metrics.observer import Metrics
from masterjob.web.ports import Board, Verb

logger = logging.getLogger("masterjob")

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""What answers a request; nothing that it raises leaves the application but as an answer."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NAME = web.AppKey("masterjob_route", str)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the application serves: the switchboard, and what it knows of this process."""

    board: Board
    health: Health
    metrics: Metrics


def application(parts: Parts, auth: Doorman | None = None, hosts: Iterable[str] = ()) -> web.Application:
    """Return the control API with its explorer, metrics and health, behind ``auth`` (default: `Loopback`).

    ``hosts`` are names of this host, beside its addresses, under which browsers may call it.
    """
    door = Loopback() if auth is None else auth
    calls = Calls("api")
    api = routes.calls(Locks(parts.board, calls), Controls(parts.board, calls))
    gates = Gates(door.demands_token, hosts)
    app = _application(parts, gates)
    for route in api:
        _add(app, route.method, route.pattern, route.path, _behind(door, route.do))
    for path, do in _probes(parts).items():
        _add(app, "GET", path, path, _behind(door, _readable(do)))
    _add_pages(app, json.dumps(openapi.document(api, door.demands_token)))

    async def close(_: web.Application) -> None:
        calls.close()

    app.on_cleanup.append(close)
    return app


def probes(parts: Parts) -> web.Application:
    """Return health and metrics alone, for kubelet and Prometheus: without a token, and nothing else."""
    app = _application(parts, None)
    for path, do in _probes(parts).items():
        _add(app, "GET", path, path, do)
    return app


def _application(parts: Parts, gates: Gates | None) -> web.Application:
    @web.middleware
    async def gate(request: web.Request, handler: Answer) -> web.StreamResponse:
        began = clock()

        async def pass_on(request: web.Request) -> web.StreamResponse:
            if gates is not None:
                gates.check(request)
            return await handler(request)

        response = await answered(request, pass_on)
        dress(response)
        method = request.method if request.method in _METHODS else "other"
        parts.metrics.answered(method, _route_of(request), response.status, clock() - began)
        return response

    return web.Application(middlewares=[gate])


def _route_of(request: web.Request) -> str:
    return getattr(request.match_info.handler, "route", "other")


def _add(app: web.Application, method: str, pattern: str, path: str, do: Answer) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await do(request)

    handler.route = path  # type: ignore[attr-defined]  # what metrics call it
    for each in (method, "HEAD") if method == "GET" else (method,):  # who looks may look at the head alone
        app.router.add_route(each, pattern, handler)


def _behind(door: Doorman, do: Callable[[Asked], Awaitable[Any]]) -> Answer:
    """Return what lets in only who may: nobody without a name gets to a call, and each call asks for its verb."""

    async def handler(request: web.Request) -> web.StreamResponse:
        actor = await door.actor(request)
        return routes.json_answer(await do(Asked(request, actor, door)))

    return handler


def _readable(do: Answer) -> Callable[[Asked], Awaitable[Any]]:
    async def call(asked: Asked) -> web.StreamResponse:
        await asked.may(Verb.READ)
        return await do(asked.request)

    return call


def _probes(parts: Parts) -> dict[str, Answer]:
    def said(wrong: list[str], well: str) -> web.Response:
        return web.Response(text="\n".join(wrong or [well]) + "\n", status=503 if wrong else 200)

    async def healthz(_: web.Request) -> web.Response:
        return said(parts.health.ails(), "alive")

    async def readyz(_: web.Request) -> web.Response:
        return said(parts.health.lacks(), "ready")

    async def metrics(request: web.Request) -> web.Response:
        text, kind = parts.metrics.render(request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": kind})

    return {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}


def _add_pages(app: web.Application, description: str) -> None:
    """Add what holds no secret and needs no token: the explorer has to be there before one can be given."""
    explorer = Explorer()

    async def described(_: web.Request) -> web.Response:
        return web.Response(text=description, content_type="application/json")

    _add(app, "GET", "/api/openapi.json", "/api/openapi.json", described)
    _add(app, "GET", "/explorer", "/explorer", explorer.page)
    _add(app, "GET", "/explorer/", "/explorer", explorer.back)
    _add(app, "GET", "/explorer/{file}", "/explorer/{file}", explorer.file)
