"""No page of another site switches anything through a user's browser."""

import pytest

from masterjob.web.config import AuthMode
from masterjob.web.interfaces import LockOperations
from tests.web.conftest import DISABLE_PATH, LOCK_NAME, ApiClient, ServeApi

FORM_CONTENT_TYPE = "application/x-www-form-urlencoded"


def post_disable(client: ApiClient, **headers: str) -> int:
    return client.post_form(DISABLE_PATH, headers, lockName=LOCK_NAME, reason="x").status


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_a_request_with_a_foreign_sec_fetch_site_is_refused(
    site: str, client: ApiClient, lock_admin: LockOperations
) -> None:
    assert post_disable(client, **{"Sec-Fetch-Site": site}) == 403
    assert lock_admin.status() == []


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "http://localhost@evil.example"],
)
def test_an_origin_that_is_not_ours_is_refused(origin: str, client: ApiClient, lock_admin: LockOperations) -> None:
    assert post_disable(client, Origin=origin) == 403
    assert lock_admin.status() == []


def test_our_own_page_may_and_so_may_clients_other_than_browsers(client: ApiClient) -> None:
    own_origin = f"http://127.0.0.1:{client.port}"
    assert post_disable(client, Origin=own_origin) == 200
    assert post_disable(client, Origin=own_origin, Sec_Fetch_Site="same-origin") == 200
    assert post_disable(client) == 200


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "", "application/xml"])
def test_a_body_that_a_form_of_another_page_could_send_is_not_json(
    kind: str, client: ApiClient, lock_admin: LockOperations
) -> None:
    body = b'{"lockName": "JOB-SCHEDULER", "reason": "x"}'
    assert client.request("POST", DISABLE_PATH, body, Content_Type=kind).status == 415
    assert lock_admin.status() == []


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", "", "a b", "[::1"]
)
def test_a_foreign_name_that_resolves_to_this_machine_is_refused_even_to_read(
    host: str, client: ApiClient
) -> None:
    assert client.get("/api/MasterLocks", Host=host).status in (400, 403)
    assert client.get("/metrics", Host=host).status in (400, 403)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:3000", "127.0.0.1", "[::1]:3000", "127.1.2.3", "localhost."]
)
def test_the_names_of_this_machine_are_ours(host: str, client: ApiClient) -> None:
    assert client.get("/api/MasterLocks", Host=host).status == 200


def test_a_further_name_may_be_allowed(serve: ServeApi) -> None:
    client = serve(allowed_hosts=("jobs.example",)).client
    assert client.get("/api/MasterLocks", Host="Jobs.Example:443").status == 200
    assert client.get("/api/MasterLocks", Host="other.example").status == 403


def test_with_auth_none_a_browser_cannot_be_tricked_by_a_foreign_name(serve: ServeApi) -> None:
    client = serve(host="0.0.0.0", auth=AuthMode.NONE).client
    assert post_disable(client, Host="evil.example", Origin="http://evil.example") == 403
    assert post_disable(client, Host="evil.example", Sec_Fetch_Site="same-origin") == 403


def test_no_cors_header_allows_another_site(client: ApiClient) -> None:
    preflight = client.request(
        "OPTIONS", DISABLE_PATH, Origin="https://evil.example", Access_Control_Request_Method="POST"
    )
    assert preflight.status == 405
    answers = [preflight, client.get("/api/MasterLocks", Origin="https://evil.example")]
    assert not any(name.startswith("access-control") for answer in answers for name in answer.headers)


def test_the_explorer_cannot_be_framed_and_runs_only_its_own_scripts(client: ApiClient) -> None:
    policy = client.get("/explorer").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self'" in policy
    assert client.get("/api/MasterLocks").headers["x-frame-options"] == "DENY"
