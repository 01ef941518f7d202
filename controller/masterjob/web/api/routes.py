"""The route table of the API: each call's method and path, its handler, and its OpenAPI operation."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from masterjob.availability.report import DEFAULT_PERIOD, PERIOD_PATTERN
from masterjob.web.api.locks import DEFAULT_HISTORY_PAGE_SIZE, MAX_PAGE_SIZE, LockHandlers
from masterjob.web.api.openapi import (
    LOCK_NAME_PARAMETER,
    array_schema,
    query_parameter,
    request_body,
    success_response,
)
from masterjob.web.api.switches import SwitchHandlers
from masterjob.web.interfaces import Verb

_PATH_PARAMETER = re.compile(r"\{(\w+)\}")
_SENTENCE_SCHEMA = {"type": "string"}
_LOCK_REFERENCE = {"$ref": "#/components/schemas/MasterLock"}
_LIMIT_PARAMETER = query_parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": MAX_PAGE_SIZE},
    "The most items of the page.",
)
_AFTER_PARAMETER = query_parameter(
    "after", {"type": "string", "maxLength": 200}, "Only locks whose name comes after this one."
)
_OFFSET_PARAMETER = query_parameter(
    "offset", {"type": "integer", "minimum": 0, "maximum": MAX_PAGE_SIZE, "default": 0}, "How many to skip."
)
_HISTORY_LIMIT_PARAMETER = query_parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_HISTORY_PAGE_SIZE},
    "The most items of the page.",
)
_SINCE_PARAMETER = query_parameter(
    "since",
    {"type": "string", "pattern": PERIOD_PATTERN, "default": DEFAULT_PERIOD, "examples": ["7d", "24h"]},
    "How far back. The history has at most 1,000 events; `since` in the answer says which time they cover.",
)


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the route table. ``error_codes`` are the errors that it may answer beside those that all may."""

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    operation: dict[str, Any] | None = None
    error_codes: tuple[int, ...] = ()
    public: bool = False
    """Whether it needs no token: it serves nothing secret."""
    verb: Verb | None = None
    """What the actor must be allowed to do to every lock; the handler itself authorizes the rest."""
    pattern: str = ""
    """What aiohttp matches instead of ``path``, if it is not that; ``path`` stays the label of metrics."""


def api_routes(lock_handlers: LockHandlers, switch_handlers: SwitchHandlers) -> list[Route]:
    """Return the calls of the control API, each described by its operation."""
    routes = [*_switch_routes(switch_handlers), *_list_routes(lock_handlers), *_lock_routes(lock_handlers)]
    return [replace(each, pattern=_any_case(each.path)) for each in routes]


def _any_case(path: str) -> str:
    """Return the pattern of a path whose fixed segments match in any case."""
    return "".join(
        f"/{{{parameter[1]}:[^/]+}}"  # a name may have braces, which aiohttp would not match by itself
        if (parameter := _PATH_PARAMETER.fullmatch(segment))
        else f"/{{_{index}:(?i:{re.escape(segment)})}}"
        for index, segment in enumerate(path.strip("/").split("/"))
    )


def _switch_routes(handlers: SwitchHandlers) -> list[Route]:
    def operation(name: str, summary: str, description: str, inputs: dict[str, Any]) -> dict[str, Any]:
        common = {"operationId": name, "tags": ["switch"], "summary": summary, "description": description}
        return {
            **common,
            **inputs,
            "responses": success_response(_SENTENCE_SCHEMA, "What was done, as a sentence."),
        }

    disable = operation(
        "disable",
        "Stop a lock's job everywhere, with a reason",
        "If the API disables it already, the first reason is kept, and the later of the two ends counts. "
        "The answer says if no lock of this name was ever used, and names the nearest one.",
        {"requestBody": request_body("Disable")},
    )
    enable = operation(
        "enable",
        "Take back the API's disable",
        "409 if another source still disables the lock; the message says how to enable it.",
        {"requestBody": request_body("Enable")},
    )
    step_down = operation(
        "stepDown",
        "Ask the master to step down, so that another instance takes over",
        "409 if there is no master.",
        {"parameters": [LOCK_NAME_PARAMETER], "requestBody": request_body("StepDown", required=False)},
    )
    forget = operation(
        "forget",
        "Delete a lock that is not used any more, with its history",
        "409 if it has a master, if anything disables or declares it, or if it was used in the last six minutes "
        "while instances are alive. An instance that takes part in it later creates it again.",
        {"parameters": [LOCK_NAME_PARAMETER]},
    )
    body_errors = (400, 408, 413, 415)
    return [
        Route("POST", "/api/MasterControls/disable", handlers.disable, disable, body_errors),
        Route("POST", "/api/MasterControls/enable", handlers.enable, enable, (*body_errors, 409)),
        Route(
            "POST",
            "/api/MasterLocks/{lockName}/step-down",
            handlers.step_down,
            step_down,
            (*body_errors, 404, 409),
        ),
        Route("DELETE", "/api/MasterLocks/{lockName}", handlers.forget, forget, (400, 404, 409)),
    ]


def _list_routes(handlers: LockHandlers) -> list[Route]:
    all_locks = _read_operation(
        "locks",
        "All locks, by name",
        success_response(array_schema("MasterLock"), "A page.", paged=True),
        _LIMIT_PARAMETER,
        _AFTER_PARAMETER,
    )
    controls = _read_operation(
        "controls",
        "The disabled locks, each with its newest disable",
        success_response(array_schema("MasterControl"), "A page.", paged=True),
        _LIMIT_PARAMETER,
        _AFTER_PARAMETER,
    )
    return [
        Route("GET", "/api/MasterLocks", handlers.list_locks, all_locks, (400,)),
        Route("GET", "/api/MasterControls", handlers.list_controls, controls, (400,)),
    ]


def _lock_routes(handlers: LockHandlers) -> list[Route]:
    lock = _read_operation("lock", "One lock", success_response(_LOCK_REFERENCE, "The lock."), LOCK_NAME_PARAMETER)
    history = _read_operation(
        "history",
        "A lock's history, newest first",
        success_response(array_schema("Transition"), "A page of at most 1,000 transitions in all.", paged=True),
        LOCK_NAME_PARAMETER,
        _HISTORY_LIMIT_PARAMETER,
        _OFFSET_PARAMETER,
    )
    report = _read_operation(
        "report",
        "For which share of the time a lock's job ran, and why it did not",
        success_response({"$ref": "#/components/schemas/Report"}, "The report."),
        LOCK_NAME_PARAMETER,
        _SINCE_PARAMETER,
    )
    return [
        Route("GET", "/api/MasterLocks/{lockName}", handlers.get_lock, lock, (400, 404)),
        Route("GET", "/api/MasterLocks/{lockName}/history", handlers.get_history, history, (400, 404)),
        Route("GET", "/api/MasterLocks/{lockName}/report", handlers.get_report, report, (400, 404)),
    ]


def _read_operation(
    name: str, summary: str, responses: dict[str, Any], *parameters: dict[str, Any]
) -> dict[str, Any]:
    return {
        "operationId": name,
        "tags": ["read"],
        "summary": summary,
        "parameters": list(parameters),
        "responses": responses,
    }
