"""Every call of the control API: its method and path, what it takes and answers, and who does it."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from masterjob.web.api.locks import DEFAULT_HISTORY_PAGE_SIZE, MAX_PAGE_SIZE, LockHandlers
from masterjob.web.api.openapi import (
    LOCK_NAME_PARAMETER,
    array_schema,
    query_parameter,
    request_body,
    success_response,
)
from masterjob.web.api.request import ApiRequest
from masterjob.web.api.switches import SwitchHandlers

_PATH_PARAMETER = re.compile(r"\{(\w+)\}")
_SENTENCE_SCHEMA = {"type": "string"}
_LOCK_REFERENCE = {"$ref": "#/components/schemas/MasterLock"}
_LIMIT_PARAMETER = query_parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": MAX_PAGE_SIZE},
    "How many at most.",
)
_AFTER_PARAMETER = query_parameter(
    "after", {"type": "string", "maxLength": 200}, "Only locks whose name comes after this one."
)
_OFFSET_PARAMETER = query_parameter(
    "offset", {"type": "integer", "minimum": 0, "maximum": MAX_PAGE_SIZE, "default": 0}, "How many to leave out."
)
_HISTORY_LIMIT_PARAMETER = query_parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_HISTORY_PAGE_SIZE},
    "How many at most.",
)


@dataclass(frozen=True, slots=True)
class Route:
    """One call. ``error_codes`` are the errors that it may answer beside those that all may."""

    method: str
    path: str
    handler: Callable[[ApiRequest], Awaitable[Any]]
    operation: dict[str, Any] | None = None
    error_codes: tuple[int, ...] = ()

    @property
    def pattern(self) -> str:
        """The path for aiohttp, in any case."""
        segments = self.path.strip("/").split("/")
        return "".join(
            f"/{{{parameter[1]}:[^/]+}}"  # a name may well have braces, which aiohttp would not take by itself
            if (parameter := _PATH_PARAMETER.fullmatch(segment))
            else f"/{{_{index}:(?i:{re.escape(segment)})}}"
            for index, segment in enumerate(segments)
        )


def api_routes(lock_handlers: LockHandlers, switch_handlers: SwitchHandlers) -> list[Route]:
    """Return the calls of the control API."""
    return [*_switch_routes(switch_handlers), *_read_routes(lock_handlers)]


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
        "Stop a lock's job everywhere, and say why",
        "Where the API disables it already the first reason is kept, and of two ends the later one counts.",
        {"requestBody": request_body("Disable")},
    )
    enable = operation(
        "enable",
        "Take the API's disable back",
        "409 where something else still disables the lock; the message says what to do about it.",
        {"requestBody": request_body("Enable")},
    )
    step_down = operation(
        "stepDown",
        "Ask the present master to give its term to another instance",
        "409 where nobody is master.",
        {"parameters": [LOCK_NAME_PARAMETER], "requestBody": request_body("StepDown", required=False)},
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
    ]


def _read_routes(handlers: LockHandlers) -> list[Route]:
    def operation(
        name: str, summary: str, responses: dict[str, Any], *parameters: dict[str, Any]
    ) -> dict[str, Any]:
        common = {"operationId": name, "tags": ["read"], "summary": summary, "parameters": list(parameters)}
        return {**common, "responses": responses}

    all_locks = operation(
        "locks",
        "All locks, by name",
        success_response(array_schema("MasterLock"), "A page.", paged=True),
        _LIMIT_PARAMETER,
        _AFTER_PARAMETER,
    )
    lock = operation("lock", "One lock", success_response(_LOCK_REFERENCE, "The lock."), LOCK_NAME_PARAMETER)
    history = operation(
        "history",
        "What happened to a lock, the newest first",
        success_response(array_schema("Transition"), "A page of at most 1,000 transitions in all.", paged=True),
        LOCK_NAME_PARAMETER,
        _HISTORY_LIMIT_PARAMETER,
        _OFFSET_PARAMETER,
    )
    controls = operation(
        "controls",
        "What is disabled: the newest disable of each lock",
        success_response(array_schema("MasterControl"), "A page.", paged=True),
        _LIMIT_PARAMETER,
        _AFTER_PARAMETER,
    )
    return [
        Route("GET", "/api/MasterLocks", handlers.list_locks, all_locks, (400,)),
        Route("GET", "/api/MasterLocks/{lockName}", handlers.get_lock, lock, (400, 404)),
        Route("GET", "/api/MasterLocks/{lockName}/history", handlers.get_history, history, (400, 404)),
        Route("GET", "/api/MasterControls", handlers.list_controls, controls, (400,)),
    ]


def to_response(result: Any) -> web.StreamResponse:
    """Return what a call answered."""
    return result if isinstance(result, web.StreamResponse) else web.json_response(result)
