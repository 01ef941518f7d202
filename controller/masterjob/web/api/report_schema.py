"""The OpenAPI schema of a report."""

from collections.abc import Mapping
from typing import Any

from masterjob.availability.runs import GapCause

_NUMBER = {"type": "number"}
_TIME = {"type": "string", "format": "date-time"}
_OPTIONAL_TIME = {"type": ["string", "null"], "format": "date-time"}

CAUSE_SCHEMA: Mapping[str, Any] = {
    "type": "string",
    "description": "Why the job did not run: " + ", ".join(GapCause) + ".",
}


def _all_required(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _list_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": _all_required(properties)}


REPORT_SCHEMA: dict[str, Any] = _all_required(
    {
        "lockName": {"type": "string"},
        "since": {
            **_OPTIONAL_TIME,
            "description": "From when on; later than was asked for if the history begins later.",
        },
        "until": _TIME,
        "availability": {
            "type": ["number", "null"],
            "description": "runningSeconds / demandedSeconds; null if the job was never demanded.",
        },
        "demandedSeconds": {
            **_NUMBER,
            "description": "How long the lock was enabled and its job had not completed.",
        },
        "runningSeconds": _NUMBER,
        "causes": _list_of(
            {"cause": CAUSE_SCHEMA, "gaps": {"type": "integer"}, "seconds": _NUMBER, "longestSeconds": _NUMBER}
        ),
        "gaps": _list_of({"cause": CAUSE_SCHEMA, "start": _TIME, "end": _OPTIONAL_TIME, "seconds": _NUMBER}),
    }
)
