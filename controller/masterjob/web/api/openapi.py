"""The OpenAPI 3.1 description of the control API, built from its routes; the tests check it against the handlers.

This module has what the calls share: schemas, errors and security. What a call does and takes is described beside
its route (`masterjob.web.api.routes`).
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, get_args

from masterjob.election.values import MAX_LOCK_NAME_LENGTH
from masterjob.job_status import RunPhase
from masterjob.lock_status import LockState
from masterjob.web.api.report_schema import CAUSE_SCHEMA, REPORT_SCHEMA

Schema = dict[str, Any]

_DATE_TIME_SCHEMA = {"type": "string", "format": "date-time"}
_NULLABLE_STRING_SCHEMA = {"type": ["string", "null"]}

LOCK_NAME_SCHEMA: Schema = {
    "type": "string",
    "description": "The name of a lock.",
    "minLength": 1,
    "maxLength": MAX_LOCK_NAME_LENGTH,
    "pattern": r"^[^\s\x00-\x1f\x7f\x85]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f\x85])?$",
    "examples": ["JOB-SCHEDULER"],
}
REASON_SCHEMA: Schema = {
    "type": "string",
    "description": "Why; it is shown to everyone who reads the lock.",
    "minLength": 1,
    "maxLength": 1000,
    "pattern": r"\S",
    "examples": ["testing"],
}
UNTIL_SCHEMA: Schema = {
    "type": "string",
    "description": "When the disable ends by itself (RFC 3339). Empty: when it is taken back.",
    "anyOf": [{"format": "date-time"}, {"maxLength": 0}],
    "default": "",  # otherwise the explorer fills in the present time, which has passed when it is sent
}


def _object_schema(properties: Mapping[str, Schema], required: Iterable[str] | None = None) -> Schema:
    names = list(properties) if required is None else list(required)
    return {"type": "object", "properties": dict(properties), **({"required": names} if names else {})}


def _nullable_reference(name: str) -> Schema:
    return {"oneOf": [{"$ref": f"#/components/schemas/{name}"}, {"type": "null"}]}


_DISABLED_PROPERTIES: dict[str, Schema] = {
    "reason": {"type": "string"},
    "actor": {"type": "string"},
    "source": {"type": "string"},
}
_DISABLED_PROPERTIES |= {"since": _DATE_TIME_SCHEMA, "until": {**_DATE_TIME_SCHEMA, "type": ["string", "null"]}}

SCHEMAS: dict[str, Schema] = {
    "Disabled": _object_schema(_DISABLED_PROPERTIES),
    "Master": _object_schema(
        {
            **{name: {"type": "string"} for name in ("instance", "address", "pod", "node")},
            "since": _DATE_TIME_SCHEMA,
            "heartbeatAgeSeconds": {"type": "number"},
            "alive": {"type": "boolean", "description": "By its lease and the database's clock."},
        }
    ),
    "Job": _object_schema(
        {
            "name": {"type": "string", "description": "Empty for a job of the library."},
            "instance": {"type": "string"},
            "term": {"type": "integer", "description": "The term of this run."},
            "phase": {
                "type": ["string", "null"],
                "enum": [*RunPhase, None],
                "description": "null if the job was stopped.",
            },
            "since": _DATE_TIME_SCHEMA,
            "exitCode": {"type": ["integer", "null"], "description": "Minus the signal, if one ended it."},
            "restarts": {"type": "integer", "description": "In place, in this term."},
            "consecutiveFailures": {"type": "integer", "description": "Over all instances."},
            "lastError": {"type": "string"},
            "output": {
                "type": "array",
                "items": {"type": "string"},
                "description": "The last lines of a run that ended; only if one lock is read.",
            },
        }
    ),
    "MasterLock": _object_schema(
        {
            "lockName": {"type": "string"},
            "state": {"type": "string", "enum": list(get_args(LockState))},
            "why": {"type": "string", "description": "Why the job does not run; empty if it runs."},
            "since": {
                **_DATE_TIME_SCHEMA,
                "type": ["string", "null"],
                "description": "When this state began; of a silent master, its last heartbeat.",
            },
            "enabled": {"type": "boolean"},
            "term": {
                "type": "integer",
                "description": "The number of the last term; it grows with each election.",
            },
            "master": _nullable_reference("Master"),
            "disabled": _nullable_reference("Disabled"),
            "job": _nullable_reference("Job"),
            "instanceID": {
                **_NULLABLE_STRING_SCHEMA,
                "description": "master.instance, as the existing system calls it.",
            },
            "ipPort": {**_NULLABLE_STRING_SCHEMA, "description": "master.address, likewise."},
            "version": {"type": "integer", "description": "term, likewise."},
            "heartbeatTime": {
                "type": ["integer", "null"],
                "description": "The last heartbeat in epoch milliseconds, by the clock of the answering instance.",
            },
        }
    ),
    "MasterControl": _object_schema(
        {
            "lockName": {"type": "string"},
            "lastUpdatedTime": {"type": "integer", "description": "since, in epoch milliseconds."},
            **_DISABLED_PROPERTIES,
            "toEnable": {"type": "string", "description": "What to do to enable the lock."},
        }
    ),
    "Transition": _object_schema(
        {
            "at": _DATE_TIME_SCHEMA,
            "lockName": {"type": "string"},
            "term": {"type": ["integer", "null"]},
            "kind": {"type": "string"},
            "instance": _NULLABLE_STRING_SCHEMA,
            "actor": _NULLABLE_STRING_SCHEMA,
            "reason": {"type": "string"},
            "vacantForSeconds": {
                "type": ["number", "null"],
                "description": "How long the job of the enabled lock had not run, if this event ended that.",
            },
            "vacancyCause": {**CAUSE_SCHEMA, "type": ["string", "null"]},
        }
    ),
    "Report": REPORT_SCHEMA,
    "Error": _object_schema(
        {
            "error": _object_schema(
                {
                    "statusCode": {"type": "integer"},
                    "name": {"type": "string"},
                    "message": {"type": "string", "description": "What is wrong, in one sentence."},
                }
            )
        }
    ),
    "Disable": _object_schema(
        {"lockName": LOCK_NAME_SCHEMA, "reason": REASON_SCHEMA, "until": UNTIL_SCHEMA}, ["lockName", "reason"]
    ),
    "Enable": _object_schema({"lockName": LOCK_NAME_SCHEMA}),
    "StepDown": _object_schema({"reason": REASON_SCHEMA}, []),
}

ERROR_DESCRIPTIONS = {
    "400": "A parameter is missing or not valid; the message names it.",
    "401": "The token is missing, not known, or has expired.",
    "403": "The client's address, its page or its token does not permit this.",
    "404": "The lock has never been used.",
    "408": "The body arrived too slowly.",
    "409": "The state of the lock does not allow this.",
    "413": "The body is too large.",
    "415": "The body is neither a form nor JSON in UTF-8.",
    "429": "Too many requests at once.",
    "503": "The database or the token review did not answer, or too many requests are waiting: try again.",
}

_API_DESCRIPTION = (
    "Which instance is master of which lock, why a lock has no master, and the switch. "
    "Paths match in any case. The answer to a POST is one sentence."
)


def build_document(routes: Iterable[Any], requires_token: bool) -> dict[str, Any]:
    """Return the whole description of these routes (`masterjob.web.api.routes.Route`)."""
    paths: dict[str, Any] = {}
    for route in routes:
        if route.operation is not None:
            paths.setdefault(route.path, {})[route.method.lower()] = {
                **route.operation,
                "responses": {**route.operation["responses"], **_error_responses(route.error_codes)},
            }
    components: dict[str, Any] = {
        "schemas": SCHEMAS,
        "responses": {code: _error_response(code) for code in ERROR_DESCRIPTIONS},
    }
    description: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "MasterJob", "version": version("masterjob"), "description": _API_DESCRIPTION},
        "servers": [{"url": "..", "description": "the server that sent this description"}],
        "paths": paths,
        "components": components,
    }
    if requires_token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        description["security"] = [{"token": []}]
    return description


def _error_responses(codes: Iterable[int]) -> dict[str, Schema]:
    return {str(code): {"$ref": f"#/components/responses/{code}"} for code in (*codes, 401, 403, 429, 503)}


def _error_response(code: str) -> Schema:
    return {
        "description": ERROR_DESCRIPTIONS[code],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def success_response(schema: Schema, description: str, *, paged: bool = False) -> dict[str, Schema]:
    """Return the response of a successful call."""
    response: Schema = {"description": description, "content": {"application/json": {"schema": schema}}}
    if paged:
        response["headers"] = {
            "Link": {"description": 'The next page, as rel="next", if any.', "schema": {"type": "string"}}
        }
    return {"200": response}


def array_schema(name: str) -> Schema:
    """Return the schema of a list of a named schema."""
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


def request_body(name: str, *, required: bool = True) -> Schema:
    """Return a body with a named schema, as a form or JSON."""
    media_type = {"schema": {"$ref": f"#/components/schemas/{name}"}}
    content_types = ("application/x-www-form-urlencoded", "application/json")
    return {"required": required, "content": dict.fromkeys(content_types, media_type)}


def query_parameter(name: str, schema: Schema, description: str) -> Schema:
    """Return a query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


LOCK_NAME_PARAMETER: Schema = {"name": "lockName", "in": "path", "required": True, "schema": LOCK_NAME_SCHEMA}
