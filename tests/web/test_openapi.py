"""The API's description is correct: checked against the routes, and against the handlers by random calls."""

import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from masterjob.web.api import openapi, routes
from masterjob.web.api.locks import LockHandlers
from masterjob.web.api.switches import SwitchHandlers
from tests.web.conftest import LOCK_NAME, ApiClient, ServeApi

OPERATIONS = [
    ("POST", "/api/MasterControls/disable"),
    ("POST", "/api/MasterControls/enable"),
    ("POST", "/api/MasterLocks/{lockName}/step-down"),
    ("DELETE", "/api/MasterLocks/{lockName}"),
    ("GET", "/api/MasterLocks"),
    ("GET", "/api/MasterLocks/{lockName}"),
    ("GET", "/api/MasterLocks/{lockName}/history"),
    ("GET", "/api/MasterLocks/{lockName}/report"),
    ("GET", "/api/MasterControls"),
]


def fetch_description(client: ApiClient) -> Any:
    return client.get("/api/openapi.json").json


def test_it_is_openapi_3_1_and_describes_each_call_and_nothing_else(client: ApiClient) -> None:
    description = fetch_description(client)
    assert description["openapi"].startswith("3.1")
    assert {(method.upper(), path) for path, calls in description["paths"].items() for method in calls} == set(
        OPERATIONS
    )


def test_every_reference_and_every_error_is_there(client: ApiClient) -> None:
    description = fetch_description(client)
    for reference in re.findall(r'"\$ref": ?"#/([^"]+)"', client.get("/api/openapi.json").body.decode()):
        referenced = description
        for segment in reference.split("/"):
            referenced = referenced[segment]


def test_if_tokens_are_required_the_description_has_a_security_scheme() -> None:
    api_routes = routes.api_routes(LockHandlers(None, None), SwitchHandlers(None, None))  # type: ignore[arg-type]  # only described
    assert "security" not in openapi.build_document(api_routes, requires_token=False)
    description = openapi.build_document(api_routes, requires_token=True)
    assert description["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_whatever_is_sent_nothing_breaks_and_every_answer_is_as_described(
    method: str, path: str, mode: GenerationMode, serve: ServeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masterjob.web.access.request_filter.WRITE_RATE", 1e9)
    client = serve().client
    client.post_form("/api/MasterControls/disable", lockName=LOCK_NAME, reason="so that there is one")
    schema = schemathesis.openapi.from_dict(fetch_description(client))
    schema.config.update(base_url=f"http://127.0.0.1:{client.port}")

    @settings(
        max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def fuzz(case: Any) -> None:
        # A schema cannot say that a time must be in the future.
        dated = isinstance(case.body, dict) and "until" in case.body
        case.call_and_validate(excluded_checks=[positive_data_acceptance] if dated else [])

    fuzz()
