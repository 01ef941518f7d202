"""The application: its middlewares, its routes and its parts. It can be mounted in another aiohttp application.

components = ApplicationComponents(lock_admin=…, health=…, metrics=…)
other.add_subapp("/masterjob", application(components, auth=LoopbackAuthorizer()))
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from aiohttp import web

from masterjob.web import middleware
from masterjob.web.access.auth import AUTHORIZER, Authorizer, LoopbackAuthorizer
from masterjob.web.access.request_filter import RequestFilter
from masterjob.web.api import openapi
from masterjob.web.api.explorer import explorer_routes
from masterjob.web.api.locks import LockHandlers
from masterjob.web.api.routes import Route, api_routes
from masterjob.web.api.switches import SwitchHandlers
from masterjob.web.health import Health
from masterjob.web.interfaces import LockOperations, Verb
from masterjob.web.metrics.observer import Metrics
from masterjob.web.pool import CallPool


@dataclass(frozen=True, slots=True)
class ApplicationComponents:
    """What the application serves: the locks of a database, and the health and metrics of this process."""

    lock_admin: LockOperations
    health: Health
    metrics: Metrics


def application(
    components: ApplicationComponents, auth: Authorizer | None = None, hosts: Iterable[str] = ()
) -> web.Application:
    """Return the control API with its explorer, health and metrics.

    ``auth`` decides who may call it (default: `LoopbackAuthorizer`). ``hosts`` are names of this machine, beside
    its addresses, under which browsers may call it.
    """
    authorizer = LoopbackAuthorizer() if auth is None else auth
    pool = CallPool("api")
    calls = api_routes(LockHandlers(components.lock_admin, pool), SwitchHandlers(components.lock_admin, pool))
    description = json.dumps(openapi.build_document(calls, authorizer.requires_token))
    probes = [replace(route, verb=Verb.READ) for route in _probe_routes(components)]
    app = web.Application(
        middlewares=[middleware.answer_errors, middleware.filter_request, middleware.authenticate]
    )
    app[AUTHORIZER] = authorizer
    app[middleware.REQUEST_FILTER] = RequestFilter(authorizer.requires_token, hosts)
    _add_routes(app, components.metrics, [*calls, *probes, *explorer_routes(description)])

    async def close(_: web.Application) -> None:
        pool.close()

    app.on_cleanup.append(close)
    return app


def probe_application(components: ApplicationComponents) -> web.Application:
    """Return health and metrics only, without a token, for kubelet and Prometheus."""
    app = web.Application(middlewares=[middleware.answer_errors])
    _add_routes(app, components.metrics, _probe_routes(components))
    return app


def _add_routes(app: web.Application, metrics: Metrics, routes: Sequence[Route]) -> None:
    app[middleware.METRICS] = metrics
    app[middleware.ROUTES] = {
        app.router.add_route(method, route.pattern or route.path, route.handler): route
        for route in routes
        for method in (("GET", "HEAD") if route.method == "GET" else (route.method,))
    }


def _probe_routes(components: ApplicationComponents) -> list[Route]:
    def probe_response(problems: list[str], healthy_text: str, note: str = "") -> web.Response:
        lines = [*(problems or [healthy_text]), *([note] if note else [])]
        return web.Response(text="\n".join(lines) + "\n", status=503 if problems else 200)

    async def healthz(_: web.Request) -> web.Response:
        return probe_response(components.health.liveness_problems(), "alive")

    async def readyz(_: web.Request) -> web.Response:
        health = components.health
        return probe_response(health.readiness_problems(), "ready", health.summarize_jobs())

    async def metrics(request: web.Request) -> web.Response:
        text, content_type = components.metrics.render(request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": content_type})

    return [
        Route("GET", "/healthz", healthz),
        Route("GET", "/readyz", readyz),
        Route("GET", "/metrics", metrics),
    ]
