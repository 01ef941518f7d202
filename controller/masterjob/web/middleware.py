"""What every request passes, outermost first: `answer_errors`, `filter_request`, `authenticate`.

An error is answered with one sentence that says what is wrong; never with a stack trace, nor with anything that
the database said. Authorization beyond `Route.verb` is up to the handlers, which know the lock.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from masterjob.concurrency.clock import clock
from masterjob.errors import InvalidValue, MasterJobError, StoreRefused, StoreUnavailable, TablesMissing
from masterjob.web.access.auth import ACTOR, AUTHORIZER, RequestRejected
from masterjob.web.access.request_filter import RequestFilter
from masterjob.web.api.routes import Route
from masterjob.web.metrics.observer import Metrics
from masterjob.web.pool import ServerBusy

logger = logging.getLogger("masterjob")

RequestHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ROUTES: web.AppKey[Mapping[web.AbstractRoute, Route]] = web.AppKey("masterjob_routes")
METRICS = web.AppKey("masterjob_metrics", Metrics)
REQUEST_FILTER = web.AppKey("masterjob_request_filter", RequestFilter)

_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_DEFAULT_HEADERS = {
    "Server": "masterjob",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


@web.middleware
async def answer_errors(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
    """Answer every error, add the default headers, and count the request."""
    started_at = clock()
    response = await _handle(request, handler)
    if not response.prepared:
        for name, value in _DEFAULT_HEADERS.items():
            response.headers.setdefault(name, value)
    method = request.method if request.method in _KNOWN_METHODS else "other"
    route = _route(request)
    label = "other" if route is None else route.path
    request.app[METRICS].count_request(method, label, response.status, clock() - started_at)
    return response


@web.middleware
async def filter_request(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
    """Refuse a request by its rate, Host or Origin."""
    request.app[REQUEST_FILTER].check(request)
    return await handler(request)


@web.middleware
async def authenticate(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
    """Authenticate the client, unless the route is public, and check the verb that the route requires."""
    route = _route(request)
    if route is not None and not route.public:
        authorizer = request.app[AUTHORIZER]
        request[ACTOR] = actor = await authorizer.authenticate(request)
        if route.verb is not None:
            await authorizer.authorize(actor, route.verb, None)
    return await handler(request)


def _route(request: web.Request) -> Route | None:
    """Return the row of the route table; None for an unknown path or method."""
    return request.app[ROUTES].get(request.match_info.route)


# --- errors


async def _handle(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
    try:
        return await handler(request)
    except MasterJobError as error:
        return _domain_error_response(error)
    except web.HTTPException as http_error:
        if http_error.status < 400:
            raise
        allow = http_error.headers.get("Allow")
        return _error_response(
            http_error.status, _http_error_message(http_error), {"Allow": allow} if allow else {}
        )
    except Exception:
        logger.exception("the control API failed to answer a request")
        return _error_response(500, "this is a defect of MasterJob; its log has the details")


def _domain_error_response(error: MasterJobError) -> web.Response:
    match error:
        case RequestRejected(status=status):
            return _error_response(status, str(error))
        case ServerBusy():
            return _error_response(503, "too many requests are waiting: try again")
        case StoreRefused():
            return _error_response(503, "the database refuses this process; its log says why")
        case TablesMissing():
            return _error_response(503, "the tables are missing in the database: they are created again soon")
        case StoreUnavailable():
            if not error.is_outage:  # which is logged once, for all calls
                logger.warning("a call of the control API failed in the database: %s", error)
            return _error_response(503, "the database did not answer: try again")
    return _error_response(400 if isinstance(error, InvalidValue) else 409, str(error))


def _http_error_message(http_error: web.HTTPException) -> str:
    if isinstance(http_error, web.HTTPMethodNotAllowed):
        return f"this path takes {' and '.join(sorted(http_error.allowed_methods))}, not {http_error.method}"
    return (
        "there is nothing at this path" if http_error.reason == HTTPStatus.NOT_FOUND.phrase else http_error.reason
    )


def _error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an error in the form that clients of the existing system know."""
    try:
        name = HTTPStatus(status).phrase
    except ValueError:
        name = "Error"
    body: dict[str, Any] = {"error": {"statusCode": status, "name": name, "message": message}}
    extra_headers = {"Retry-After": "1"} if status in (429, 503) else {}
    extra_headers |= {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.json_response(body, status=status, headers=extra_headers | dict(headers or {}))
