"""The description of the API is true: held against the routes, and against the handlers by random calls."""

import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from masterjob.web.api import openapi, routes
from masterjob.web.api.controls import Controls
from masterjob.web.api.locks import Locks
from tests.web.conftest import LOCK, Client, Serve

PATHS = [
    ("POST", "/api/MasterControls/disable"),
    ("POST", "/api/MasterControls/enable"),
    ("POST", "/api/MasterLocks/{lockName}/step-down"),
    ("GET", "/api/MasterLocks"),
    ("GET", "/api/MasterLocks/{lockName}"),
    ("GET", "/api/MasterLocks/{lockName}/history"),
    ("GET", "/api/MasterControls"),
]


def described(client: Client) -> Any:
    return client.get("/api/openapi.json").json


def test_it_is_openapi_3_1_and_describes_each_call_and_nothing_else(client: Client) -> None:
    said = described(client)
    assert said["openapi"].startswith("3.1")
    assert {(method.upper(), path) for path, calls in said["paths"].items() for method in calls} == set(PATHS)


def test_every_reference_and_every_error_is_there(client: Client) -> None:
    said = described(client)
    for reference in re.findall(r'"\$ref": ?"#/([^"]+)"', client.get("/api/openapi.json").body.decode()):
        found = said
        for step in reference.split("/"):
            found = found[step]


def test_where_tokens_are_demanded_it_says_so() -> None:
    calls = routes.calls(Locks(None, None), Controls(None, None))  # type: ignore[arg-type]  # only described
    assert "security" not in openapi.document(calls, demands_token=False)
    said = openapi.document(calls, demands_token=True)
    assert said["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
@pytest.mark.parametrize(("method", "path"), PATHS)
def test_whatever_is_sent_nothing_breaks_and_every_answer_is_as_described(
    method: str, path: str, mode: GenerationMode, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masterjob.web.access.gates.SWITCHES", 1e9)
    client = serve().client
    client.form("/api/MasterControls/disable", lockName=LOCK, reason="so that there is one")
    schema = schemathesis.openapi.from_dict(described(client))
    schema.config.update(base_url=f"http://127.0.0.1:{client.port}")

    @settings(
        max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def fuzz(case: Any) -> None:
        # That a time is over already is nothing that a schema could say.
        dated = isinstance(case.body, dict) and "until" in case.body
        case.call_and_validate(excluded_checks=[positive_data_acceptance] if dated else [])

    fuzz()
