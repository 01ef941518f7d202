"""The wire contract of the existing system, with the curl commands of its documentation; and its errors."""

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from masterjob.web.interfaces import LockOperations
from tests.timeouts import WAIT_TIMEOUT
from tests.web.conftest import DISABLE_PATH, ENABLE_PATH, LOCK_NAME, ApiClient

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(client: ApiClient, path: str, data: str, content_type: str = "application/x-www-form-urlencoded") -> Any:
    """Send a request as the existing system's documentation does."""
    command = ["curl", "-sS", "-X", "POST", "--header", f"Content-Type: {content_type}"]
    command += ["--header", "Accept: application/json", "-d", data]
    completed = subprocess.run(
        [*command, f"http://localhost:{client.port}{path}"], capture_output=True, check=True, timeout=WAIT_TIMEOUT
    )
    return json.loads(completed.stdout)


@needs_curl
def test_curl_disables_disables_again_and_enables(client: ApiClient, lock_admin: LockOperations) -> None:
    assert curl(client, DISABLE_PATH, f"lockName={LOCK_NAME}&reason=testing").startswith(
        f"Flagged {LOCK_NAME} as disabled"
    )
    assert (
        curl(client, DISABLE_PATH, f"lockName={LOCK_NAME}&reason=other")
        == f"{LOCK_NAME} is already flagged as disabled"
    )
    (lock,) = lock_admin.status(LOCK_NAME)
    assert lock.disabled is not None
    assert (lock.disabled.reason, lock.disabled.source, lock.disabled.actor) == ("testing", "api", "127.0.0.1")
    assert curl(client, ENABLE_PATH, f"lockName={LOCK_NAME}") == f"{LOCK_NAME} is flagged for (re)enablement"
    assert lock_admin.status(LOCK_NAME)[0].enabled
    assert [event.kind for event in lock_admin.history(LOCK_NAME)] == ["enabled", "disabled"]


@needs_curl
def test_curl_may_send_json_and_any_case_of_the_path(client: ApiClient, lock_admin: LockOperations) -> None:
    payload = json.dumps({"lockName": LOCK_NAME, "reason": "testing"})
    assert (
        curl(client, "/api/mastercontrols/disable", payload, "application/json")
        == f"Flagged {LOCK_NAME} as disabled in advance: no lock of this name was ever used on this database"
    )
    assert (
        curl(client, "/API/MASTERCONTROLS/ENABLE", f"lockName={LOCK_NAME}")
        == f"{LOCK_NAME} is flagged for (re)enablement"
    )
    assert lock_admin.status(LOCK_NAME)[0].enabled


def test_a_lock_that_has_never_been_used_may_be_disabled_in_advance_and_enabled_without_effect(
    client: ApiClient, lock_admin: LockOperations
) -> None:
    assert client.post_form(ENABLE_PATH, lockName="UNUSED").json == "UNUSED is flagged for (re)enablement"
    assert lock_admin.status("UNUSED") == []
    assert client.post_form(DISABLE_PATH, lockName="NEXT-YEAR", reason="not yet").status == 200
    assert lock_admin.status("NEXT-YEAR")[0].state == "Disabled"


@pytest.mark.parametrize(
    ("path", "fields", "wrong_field"),
    [
        (DISABLE_PATH, {"reason": "testing"}, "lockName"),
        (DISABLE_PATH, {"lockName": "", "reason": "testing"}, "lockName"),
        (DISABLE_PATH, {"lockName": LOCK_NAME}, "reason"),
        (DISABLE_PATH, {"lockName": LOCK_NAME, "reason": ""}, "reason"),
        (DISABLE_PATH, {"lockName": LOCK_NAME, "reason": "  "}, "reason"),
        (ENABLE_PATH, {}, "lockName"),
        (ENABLE_PATH, {"lockName": " X"}, "lockName"),
        (ENABLE_PATH, {"lockName": "X" * 201}, "lockName"),
        (DISABLE_PATH, {"lockName": LOCK_NAME, "reason": "x" * 1001}, "reason"),
        (DISABLE_PATH, {"lockName": LOCK_NAME, "reason": "x", "until": "soon"}, "until"),
        (DISABLE_PATH, {"lockName": LOCK_NAME, "reason": "x", "until": "2001-01-01T00:00:00Z"}, "until"),
        (DISABLE_PATH, {"lockName": LOCK_NAME, "reason": "x", "until": "2030-01-01T00:00:00"}, "until"),
        (DISABLE_PATH, {"lockName": LOCK_NAME, "reason": "x", "until": "9999-12-31T23:59:59-12:00"}, "until"),
    ],
)
def test_a_wrong_parameter_is_a_400_with_its_name(
    path: str, fields: dict[str, str], wrong_field: str, client: ApiClient, lock_admin: LockOperations
) -> None:
    for answer in (client.post_form(path, None, **fields), client.post_json(path, fields)):
        assert answer.status == 400
        assert wrong_field in answer.message
    assert lock_admin.status() == []


@pytest.mark.parametrize("value", [5, None, True, ["X"], {"a": "b"}])
def test_a_parameter_in_json_that_is_not_text_is_a_400_with_its_name(value: object, client: ApiClient) -> None:
    answer = client.post_json(ENABLE_PATH, {"lockName": value})
    assert (answer.status, "lockName" in answer.message) == (400, True)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"lockName": "A", "lockName": "B"}'),
        ("application/x-www-form-urlencoded", b"lockName=A&lockName=B"),
    ],
)
def test_two_locks_in_one_request_are_refused(content_type: str, body: bytes, client: ApiClient) -> None:
    answer = client.request("POST", ENABLE_PATH, body, Content_Type=content_type)
    assert (answer.status, answer.message) == (400, "lockName is given twice")


def test_unknown_fields_are_ignored(client: ApiClient) -> None:
    assert (
        client.post_json(DISABLE_PATH, {"lockName": LOCK_NAME, "reason": "x", "options": {"ctx": 1}}).status == 200
    )


def test_a_disable_may_have_an_end_time(client: ApiClient, lock_admin: LockOperations) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    assert client.post_form(DISABLE_PATH, lockName=LOCK_NAME, reason="x", until=until.isoformat()).status == 200
    disabled = lock_admin.status(LOCK_NAME)[0].disabled
    assert disabled is not None
    assert disabled.until == until
    assert client.get(f"/api/MasterLocks/{LOCK_NAME}").json["disabled"]["until"] == until.isoformat().replace(
        "+00:00", "Z"
    )


def test_enabling_what_a_file_or_a_resource_disables_is_a_409_with_instructions(
    client: ApiClient, lock_admin: LockOperations
) -> None:
    lock_admin.disable(LOCK_NAME, "moving", "file:default/beep", "file:default/beep")
    lock_admin.disable(LOCK_NAME, "mine", "ann")
    answer = client.post_form(ENABLE_PATH, lockName=LOCK_NAME)
    assert answer.status == 409
    assert f"{LOCK_NAME} is still disabled by file:default/beep: moving" in answer.message
    assert "set enabled: true where file:default/beep was read from" in answer.message
    lock_admin.enable(LOCK_NAME, "ann", "file:default/beep")
    assert lock_admin.status(LOCK_NAME)[0].enabled  # the API's own disable was taken back all the same


def test_step_down_flags_the_master(client: ApiClient, lock_admin: LockOperations, elect: Any) -> None:
    path = f"/api/MasterLocks/{LOCK_NAME}/step-down"
    assert client.post_form(path).status == 404
    elect()
    assert client.request("POST", path).json == f"the master of {LOCK_NAME} was asked to step down"
    assert client.post_form(path, reason="slow").status == 200
    assert [(event.kind, event.actor, event.reason) for event in lock_admin.history(LOCK_NAME)][:2] == [
        ("step-down asked", "127.0.0.1", "slow"),
        ("step-down asked", "127.0.0.1", ""),
    ]
    client.post_form(DISABLE_PATH, lockName="FREE", reason="x")
    assert client.post_form("/api/MasterLocks/FREE/step-down").status == 409


def test_names_that_need_quoting_can_be_switched_and_read(client: ApiClient) -> None:
    for name in ("a/b", "ä ö", "100%", "a%2Fb", "q?x=1&y", "{x}", 'quo"te'):
        answer = client.post_form(DISABLE_PATH, lockName=name, reason="x").json
        assert answer.startswith(f"Flagged {name} as disabled")
        quoted = "".join(f"%{byte:02X}" for byte in name.encode())
        assert client.get(f"/api/MasterLocks/{quoted}").json["lockName"] == name


def test_a_switch_is_logged_on_one_line_whatever_the_reason_holds(
    client: ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "masterjob"):
        client.post_form(DISABLE_PATH, lockName=LOCK_NAME, reason="testing\n2026-01-01 forged line")
    (message,) = [record.getMessage() for record in caplog.records if LOCK_NAME in record.getMessage()]
    assert message == f"{LOCK_NAME} is disabled by 127.0.0.1 (api): testing 2026-01-01 forged line"


def test_a_lock_that_is_not_used_any_more_is_forgotten(
    client: ApiClient, lock_admin: LockOperations, elect: Any
) -> None:
    path = f"/api/MasterLocks/{LOCK_NAME}"
    assert client.request("DELETE", path).status == 404
    elect()
    held = client.request("DELETE", path)
    assert (held.status, held.message) == (409, f"{LOCK_NAME} is kept, because a-host-1-2 is its master")
    lock_admin.disable("OLD", "x", "ann")
    lock_admin.enable("OLD", "ann")
    recent = client.request("DELETE", "/api/MasterLocks/OLD")
    assert (recent.status, "used in the last 6m" in recent.message) == (409, True)


def test_the_answer_says_that_a_lock_is_forgotten(client: ApiClient, lock_admin: LockOperations) -> None:
    lock_admin.disable("OLD", "x", "ann")
    lock_admin.enable("OLD", "ann")
    assert client.request("DELETE", "/api/MasterLocks/OLD").json == "OLD is forgotten"
    assert lock_admin.status() == []


def test_disabling_a_name_that_was_never_used_names_the_nearest(client: ApiClient, elect: Any) -> None:
    elect()
    answer = client.post_form(DISABLE_PATH, lockName=LOCK_NAME.lower() + "s", reason="x").json
    unknown = "no lock of this name was ever used on this database"
    assert answer == f"Flagged {LOCK_NAME.lower()}s as disabled in advance: {unknown}; did you mean {LOCK_NAME}?"
    assert (
        client.post_form(DISABLE_PATH, lockName=LOCK_NAME, reason="x").json == f"Flagged {LOCK_NAME} as disabled"
    )
