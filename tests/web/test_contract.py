"""The wire contract of the existing system, with the curl of its documentation; and what it says of errors."""

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from masterjob.web.ports import Board
from tests.web.conftest import DISABLE, ENABLE, LOCK, Client

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(client: Client, path: str, data: str, kind: str = "application/x-www-form-urlencoded") -> Any:
    """Call as the documentation of the existing system says."""
    command = ["curl", "-sS", "-X", "POST", "--header", f"Content-Type: {kind}"]
    command += ["--header", "Accept: application/json", "-d", data]
    done = subprocess.run(
        [*command, f"http://localhost:{client.port}{path}"], capture_output=True, check=True, timeout=30
    )
    return json.loads(done.stdout)


@needs_curl
def test_curl_disables_disables_again_and_enables(client: Client, board: Board) -> None:
    assert curl(client, DISABLE, f"lockName={LOCK}&reason=testing") == f"Flagged {LOCK} as disabled"
    assert curl(client, DISABLE, f"lockName={LOCK}&reason=other") == f"{LOCK} is already flagged as disabled"
    (lock,) = board.status(LOCK)
    assert lock.disabled is not None
    assert (lock.disabled.reason, lock.disabled.source, lock.disabled.actor) == ("testing", "api", "127.0.0.1")
    assert curl(client, ENABLE, f"lockName={LOCK}") == f"{LOCK} is flagged for (re)enablement"
    assert board.status(LOCK)[0].enabled
    assert [event.kind for event in board.history(LOCK)] == ["enabled", "disabled"]


@needs_curl
def test_curl_may_send_json_and_any_case_of_the_path(client: Client, board: Board) -> None:
    said = json.dumps({"lockName": LOCK, "reason": "testing"})
    assert curl(client, "/api/mastercontrols/disable", said, "application/json") == f"Flagged {LOCK} as disabled"
    assert (
        curl(client, "/API/MASTERCONTROLS/ENABLE", f"lockName={LOCK}") == f"{LOCK} is flagged for (re)enablement"
    )
    assert board.status(LOCK)[0].enabled


def test_a_lock_that_nobody_has_used_may_be_disabled_in_advance_and_enabled_in_vain(
    client: Client, board: Board
) -> None:
    assert client.form(ENABLE, lockName="NOBODY").json == "NOBODY is flagged for (re)enablement"
    assert board.status("NOBODY") == []
    assert client.form(DISABLE, lockName="NEXT-YEAR", reason="not yet").status == 200
    assert board.status("NEXT-YEAR")[0].state == "Disabled"


@pytest.mark.parametrize(
    ("path", "fields", "missing"),
    [
        (DISABLE, {"reason": "testing"}, "lockName"),
        (DISABLE, {"lockName": "", "reason": "testing"}, "lockName"),
        (DISABLE, {"lockName": LOCK}, "reason"),
        (DISABLE, {"lockName": LOCK, "reason": ""}, "reason"),
        (DISABLE, {"lockName": LOCK, "reason": "  "}, "reason"),
        (ENABLE, {}, "lockName"),
        (ENABLE, {"lockName": " X"}, "lockName"),
        (ENABLE, {"lockName": "X" * 201}, "lockName"),
        (DISABLE, {"lockName": LOCK, "reason": "x" * 1001}, "reason"),
        (DISABLE, {"lockName": LOCK, "reason": "x", "until": "soon"}, "until"),
        (DISABLE, {"lockName": LOCK, "reason": "x", "until": "2001-01-01T00:00:00Z"}, "until"),
        (DISABLE, {"lockName": LOCK, "reason": "x", "until": "2030-01-01T00:00:00"}, "until"),
        (DISABLE, {"lockName": LOCK, "reason": "x", "until": "9999-12-31T23:59:59-12:00"}, "until"),
    ],
)
def test_a_wrong_parameter_is_a_400_with_its_name(
    path: str, fields: dict[str, str], missing: str, client: Client, board: Board
) -> None:
    for answer in (client.form(path, None, **fields), client.json(path, fields)):
        assert answer.status == 400
        assert missing in answer.message
    assert board.status() == []


@pytest.mark.parametrize("value", [5, None, True, ["X"], {"a": "b"}])
def test_a_parameter_in_json_that_is_no_text_is_a_400_with_its_name(value: object, client: Client) -> None:
    answer = client.json(ENABLE, {"lockName": value})
    assert (answer.status, "lockName" in answer.message) == (400, True)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"lockName": "A", "lockName": "B"}'),
        ("application/x-www-form-urlencoded", b"lockName=A&lockName=B"),
    ],
)
def test_of_two_locks_in_one_request_neither_is_meant(kind: str, body: bytes, client: Client) -> None:
    answer = client.ask("POST", ENABLE, body, Content_Type=kind)
    assert (answer.status, answer.message) == (400, "lockName is given twice")


def test_fields_that_nobody_knows_are_ignored(client: Client) -> None:
    assert client.json(DISABLE, {"lockName": LOCK, "reason": "x", "options": {"ctx": 1}}).status == 200


def test_a_disable_may_say_when_it_ends_by_itself(client: Client, board: Board) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    assert client.form(DISABLE, lockName=LOCK, reason="x", until=until.isoformat()).status == 200
    disabled = board.status(LOCK)[0].disabled
    assert disabled is not None
    assert disabled.until == until
    assert client.get(f"/api/MasterLocks/{LOCK}").json["disabled"]["until"] == until.isoformat().replace(
        "+00:00", "Z"
    )


def test_what_a_file_or_a_resource_disables_is_a_409_that_says_what_to_do(client: Client, board: Board) -> None:
    board.disable(LOCK, "moving", "file:default/beep", "file:default/beep")
    board.disable(LOCK, "mine", "ann")
    answer = client.form(ENABLE, lockName=LOCK)
    assert answer.status == 409
    assert f"{LOCK} is still disabled by file:default/beep: moving" in answer.message
    assert "set enabled: true where file:default/beep was read from" in answer.message
    board.enable(LOCK, "ann", "file:default/beep")
    assert board.status(LOCK)[0].enabled  # the API's own disable was taken back all the same


def test_step_down_asks_the_master(client: Client, board: Board, elect: Any) -> None:
    path = f"/api/MasterLocks/{LOCK}/step-down"
    assert client.form(path).status == 404
    elect()
    assert client.ask("POST", path).json == f"the master of {LOCK} was asked to step down"
    assert client.form(path, reason="slow").status == 200
    assert [(event.kind, event.actor, event.reason) for event in board.history(LOCK)][:2] == [
        ("step-down asked", "127.0.0.1", "slow"),
        ("step-down asked", "127.0.0.1", ""),
    ]
    client.form(DISABLE, lockName="FREE", reason="x")
    assert client.form("/api/MasterLocks/FREE/step-down").status == 409


def test_names_that_need_quoting_can_be_switched_and_read(client: Client) -> None:
    for name in ("a/b", "ä ö", "100%", "a%2Fb", "q?x=1&y", "{x}", 'quo"te'):
        assert client.form(DISABLE, lockName=name, reason="x").json == f"Flagged {name} as disabled"
        quoted = "".join(f"%{byte:02X}" for byte in name.encode())
        assert client.get(f"/api/MasterLocks/{quoted}").json["lockName"] == name


def test_a_switch_is_told_in_one_sentence_whatever_the_reason_holds(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "masterjob"):
        client.form(DISABLE, lockName=LOCK, reason="testing\n2026-01-01 forged line")
    (line,) = [record.getMessage() for record in caplog.records if LOCK in record.getMessage()]
    assert line == f"{LOCK} is disabled by 127.0.0.1 (api): testing 2026-01-01 forged line"
