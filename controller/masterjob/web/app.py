"""The application: every route behind its gates. It can be mounted in another aiohttp application.

components = ApplicationComponents(lock_admin=…, health=…, metrics=…)
    other.add_subapp("/masterjob", application(components, auth=LoopbackAuthorizer()))
"""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from masterjob.concurrency.clock import clock
from masterjob.web.access.auth import Authorizer, LoopbackAuthorizer
from masterjob.web.access.middleware import RequestFilter, add_default_headers, handle_errors
from masterjob.web.api import openapi, routes
from masterjob.web.api.explorer import Explorer
from masterjob.web.api.locks import LockHandlers
from masterjob.web.api.request import ApiRequest
from masterjob.web.api.switches import SwitchHandlers
from masterjob.web.health import Health
from masterjob.web.interfaces import LockOperations, Verb
from masterjob.web.metrics.observer import Metrics
from masterjob.web.pool import CallPool

logger = logging.getLogger("masterjob")

RequestHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""What answers a request; nothing that it raises leaves the application but as an answer."""

_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ROUTE_KEY = web.AppKey("masterjob_route", str)


@dataclass(frozen=True, slots=True)
class ApplicationComponents:
    """What the application serves: the switchboard, and what it knows of this process."""

    lock_admin: LockOperations
    health: Health
    metrics: Metrics


def application(
    components: ApplicationComponents, auth: Authorizer | None = None, hosts: Iterable[str] = ()
) -> web.Application:
    """Return the control API with its explorer, metrics and health, behind ``auth`` (default:
    `LoopbackAuthorizer`).

    ``hosts`` are names of this host, beside its addresses, under which browsers may call it.
    """
    authorizer = LoopbackAuthorizer() if auth is None else auth
    pool = CallPool("api")
    api_routes = routes.api_routes(
        LockHandlers(components.lock_admin, pool), SwitchHandlers(components.lock_admin, pool)
    )
    request_filter = RequestFilter(authorizer.requires_token, hosts)
    app = _create_application(components, request_filter)
    for route in api_routes:
        _add_route(app, route.method, route.pattern, route.path, _require_actor(authorizer, route.handler))
    for path, handler in _probe_handlers(components).items():
        _add_route(app, "GET", path, path, _require_actor(authorizer, _require_read(handler)))
    _add_public_routes(app, json.dumps(openapi.build_document(api_routes, authorizer.requires_token)))

    async def close(_: web.Application) -> None:
        pool.close()

    app.on_cleanup.append(close)
    return app


def probe_application(components: ApplicationComponents) -> web.Application:
    """Return health and metrics alone, for kubelet and Prometheus: without a token, and nothing else."""
    app = _create_application(components, None)
    for path, handler in _probe_handlers(components).items():
        _add_route(app, "GET", path, path, handler)
    return app


def _create_application(
    components: ApplicationComponents, request_filter: RequestFilter | None
) -> web.Application:
    @web.middleware
    async def middleware(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        started_at = clock()

        async def checked_handler(request: web.Request) -> web.StreamResponse:
            if request_filter is not None:
                request_filter.check(request)
            return await handler(request)

        response = await handle_errors(request, checked_handler)
        add_default_headers(response)
        method = request.method if request.method in _KNOWN_METHODS else "other"
        components.metrics.count_request(method, _route_label(request), response.status, clock() - started_at)
        return response

    return web.Application(middlewares=[middleware])


def _route_label(request: web.Request) -> str:
    return getattr(request.match_info.handler, "route", "other")


def _add_route(app: web.Application, method: str, pattern: str, path: str, handler: RequestHandler) -> None:
    async def route_handler(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    route_handler.route = path  # type: ignore[attr-defined]  # what metrics call it
    for registered_method in (
        (method, "HEAD") if method == "GET" else (method,)
    ):  # who looks may look at the head alone
        app.router.add_route(registered_method, pattern, route_handler)


def _require_actor(authorizer: Authorizer, handler: Callable[[ApiRequest], Awaitable[Any]]) -> RequestHandler:
    """Return what lets in only who may: nobody without a name gets to a call, and each call asks for its verb."""

    async def authenticated_handler(request: web.Request) -> web.StreamResponse:
        actor = await authorizer.authenticate(request)
        return routes.to_response(await handler(ApiRequest(request, actor, authorizer)))

    return authenticated_handler


def _require_read(handler: RequestHandler) -> Callable[[ApiRequest], Awaitable[Any]]:
    async def authorized_handler(request: ApiRequest) -> web.StreamResponse:
        await request.authorize(Verb.READ)
        return await handler(request.http_request)

    return authorized_handler


def _probe_handlers(components: ApplicationComponents) -> dict[str, RequestHandler]:
    def probe_response(problems: list[str], healthy_text: str) -> web.Response:
        return web.Response(text="\n".join(problems or [healthy_text]) + "\n", status=503 if problems else 200)

    async def healthz(_: web.Request) -> web.Response:
        return probe_response(components.health.liveness_problems(), "alive")

    async def readyz(_: web.Request) -> web.Response:
        return probe_response(components.health.readiness_problems(), "ready")

    async def metrics(request: web.Request) -> web.Response:
        text, content_type = components.metrics.render(request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": content_type})

    return {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}


def _add_public_routes(app: web.Application, description: str) -> None:
    """Add what holds no secret and needs no token: the explorer has to be there before one can be given."""
    explorer = Explorer()

    async def serve_description(_: web.Request) -> web.Response:
        return web.Response(text=description, content_type="application/json")

    _add_route(app, "GET", "/api/openapi.json", "/api/openapi.json", serve_description)
    _add_route(app, "GET", "/explorer", "/explorer", explorer.serve_page)
    _add_route(app, "GET", "/explorer/", "/explorer", explorer.redirect_to_page)
    _add_route(app, "GET", "/explorer/{file}", "/explorer/{file}", explorer.serve_file)
