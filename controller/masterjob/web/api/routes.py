"""Every call of the control API: its method and path, what it takes and answers, and who does it."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from masterjob.web.api.asked import Asked
from masterjob.web.api.controls import Controls
from masterjob.web.api.locks import HISTORY_PAGE, PAGE, Locks
from masterjob.web.api.openapi import IN_PATH, answer, body, listed, query

_PART = re.compile(r"\{(\w+)\}")
_SENTENCE = {"type": "string"}
_NAMED = {"$ref": "#/components/schemas/MasterLock"}
_LIMIT = query("limit", {"type": "integer", "minimum": 1, "maximum": PAGE, "default": PAGE}, "How many at most.")
_AFTER = query("after", {"type": "string", "maxLength": 200}, "Only locks whose name comes after this one.")
_OFFSET = query(
    "offset", {"type": "integer", "minimum": 0, "maximum": PAGE, "default": 0}, "How many to leave out."
)
_SHORT = query(
    "limit", {"type": "integer", "minimum": 1, "maximum": PAGE, "default": HISTORY_PAGE}, "How many at most."
)


@dataclass(frozen=True, slots=True)
class Route:
    """One call. ``fails`` are the errors that it may answer beside those that all may."""

    method: str
    path: str
    do: Callable[[Asked], Awaitable[Any]]
    operation: dict[str, Any] | None = None
    fails: tuple[int, ...] = ()

    @property
    def pattern(self) -> str:
        """The path for aiohttp, in any case."""
        parts = self.path.strip("/").split("/")
        return "".join(
            f"/{{{found[1]}:[^/]+}}"  # a name may well have braces, which aiohttp would not take by itself
            if (found := _PART.fullmatch(part))
            else f"/{{_{number}:(?i:{re.escape(part)})}}"
            for number, part in enumerate(parts)
        )


def calls(locks: Locks, controls: Controls) -> list[Route]:
    """Return the calls of the control API."""
    return [*_switches(controls), *_reads(locks)]


def _switches(controls: Controls) -> list[Route]:
    def operation(name: str, summary: str, description: str, takes: dict[str, Any]) -> dict[str, Any]:
        said = {"operationId": name, "tags": ["switch"], "summary": summary, "description": description}
        return {**said, **takes, "responses": answer(_SENTENCE, "What was done, as a sentence.")}

    disable = operation(
        "disable",
        "Stop a lock's job everywhere, and say why",
        "Where the API disables it already the first reason is kept, and of two ends the later one counts.",
        {"requestBody": body("Disable")},
    )
    enable = operation(
        "enable",
        "Take the API's disable back",
        "409 where something else still disables the lock; the message says what to do about it.",
        {"requestBody": body("Enable")},
    )
    step_down = operation(
        "stepDown",
        "Ask the present master to give its term to another instance",
        "409 where nobody is master.",
        {"parameters": [IN_PATH], "requestBody": body("StepDown", required=False)},
    )
    slow = (400, 408, 413, 415)
    return [
        Route("POST", "/api/MasterControls/disable", controls.disable, disable, slow),
        Route("POST", "/api/MasterControls/enable", controls.enable, enable, (*slow, 409)),
        Route("POST", "/api/MasterLocks/{lockName}/step-down", controls.step_down, step_down, (*slow, 404, 409)),
    ]


def _reads(locks: Locks) -> list[Route]:
    def operation(
        name: str, summary: str, responses: dict[str, Any], *parameters: dict[str, Any]
    ) -> dict[str, Any]:
        said = {"operationId": name, "tags": ["read"], "summary": summary, "parameters": list(parameters)}
        return {**said, "responses": responses}

    all_locks = operation(
        "locks", "All locks, by name", answer(listed("MasterLock"), "A page.", paged=True), _LIMIT, _AFTER
    )
    lock = operation("lock", "One lock", answer(_NAMED, "The lock."), IN_PATH)
    history = operation(
        "history",
        "What happened to a lock, the newest first",
        answer(listed("Transition"), "A page of at most 1,000 transitions in all.", paged=True),
        IN_PATH,
        _SHORT,
        _OFFSET,
    )
    controls = operation(
        "controls",
        "What is disabled: the newest disable of each lock",
        answer(listed("MasterControl"), "A page.", paged=True),
        _LIMIT,
        _AFTER,
    )
    return [
        Route("GET", "/api/MasterLocks", locks.all, all_locks, (400,)),
        Route("GET", "/api/MasterLocks/{lockName}", locks.one, lock, (400, 404)),
        Route("GET", "/api/MasterLocks/{lockName}/history", locks.history, history, (400, 404)),
        Route("GET", "/api/MasterControls", locks.controls, controls, (400,)),
    ]


def json_answer(said: Any) -> web.StreamResponse:
    """Return what a call answered."""
    return said if isinstance(said, web.StreamResponse) else web.json_response(said)
