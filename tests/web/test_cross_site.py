"""No page of another site switches anything through somebody's browser."""

import pytest

from masterjob.web.options import Auth
from masterjob.web.ports import Board
from tests.web.conftest import DISABLE, LOCK, Client, Serve

FORM = "application/x-www-form-urlencoded"


def post(client: Client, **headers: str) -> int:
    return client.form(DISABLE, headers, lockName=LOCK, reason="x").status


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_a_browser_that_says_another_page_sent_it_is_refused(site: str, client: Client, board: Board) -> None:
    assert post(client, **{"Sec-Fetch-Site": site}) == 403
    assert board.status() == []


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "http://localhost@evil.example"],
)
def test_an_origin_that_is_not_ours_is_refused(origin: str, client: Client, board: Board) -> None:
    assert post(client, Origin=origin) == 403
    assert board.status() == []


def test_our_own_page_may_and_so_may_who_is_no_browser(client: Client) -> None:
    ours = f"http://127.0.0.1:{client.port}"
    assert post(client, Origin=ours) == 200
    assert post(client, Origin=ours, Sec_Fetch_Site="same-origin") == 200
    assert post(client) == 200


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "", "application/xml"])
def test_what_a_form_of_another_page_could_send_is_no_json(kind: str, client: Client, board: Board) -> None:
    body = b'{"lockName": "JOB-SCHEDULER", "reason": "x"}'
    assert client.ask("POST", DISABLE, body, Content_Type=kind).status == 415
    assert board.status() == []


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", "", "a b", "[::1"]
)
def test_a_name_that_was_pointed_here_is_refused_even_to_read(host: str, client: Client) -> None:
    assert client.get("/api/MasterLocks", Host=host).status in (400, 403)
    assert client.get("/metrics", Host=host).status in (400, 403)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:3000", "127.0.0.1", "[::1]:3000", "127.1.2.3", "localhost."]
)
def test_the_names_of_this_machine_are_ours(host: str, client: Client) -> None:
    assert client.get("/api/MasterLocks", Host=host).status == 200


def test_a_further_name_may_be_given(serve: Serve) -> None:
    client = serve(allowed_hosts=("jobs.example",)).client
    assert client.get("/api/MasterLocks", Host="Jobs.Example:443").status == 200
    assert client.get("/api/MasterLocks", Host="other.example").status == 403


def test_where_everybody_may_a_browser_is_not_led_here_by_a_name(serve: Serve) -> None:
    client = serve(host="0.0.0.0", auth=Auth.NONE).client
    assert post(client, Host="evil.example", Origin="http://evil.example") == 403
    assert post(client, Host="evil.example", Sec_Fetch_Site="same-origin") == 403


def test_no_other_site_is_told_that_it_may(client: Client) -> None:
    preflight = client.ask("OPTIONS", DISABLE, Origin="https://evil.example", Access_Control_Request_Method="POST")
    assert preflight.status == 405
    seen = [preflight, client.get("/api/MasterLocks", Origin="https://evil.example")]
    assert not any(name.startswith("access-control") for answer in seen for name in answer.headers)


def test_the_explorer_is_framed_by_nobody_and_runs_nothing_from_elsewhere(client: Client) -> None:
    policy = client.get("/explorer").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self'" in policy
    assert client.get("/api/MasterLocks").headers["x-frame-options"] == "DENY"
