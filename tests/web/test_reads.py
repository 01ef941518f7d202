"""The calls that read: the fields of the existing system beside ours, in pages."""

import time
from collections.abc import Callable

import pytest

from masterjob.concurrency.clock import clock
from masterjob.election.values import HistoryEntry, TransitionKind
from masterjob.store.database import Database
from masterjob.web.interfaces import LockOperations
from tests.web.conftest import LOCK_NAME, ApiClient


def test_a_lock_has_the_fields_of_the_existing_system_and_ours(
    client: ApiClient, elect: Callable[..., None]
) -> None:
    elect()
    lock = client.get(f"/api/MasterLocks/{LOCK_NAME}").json
    assert (lock["lockName"], lock["instanceID"], lock["ipPort"]) == (LOCK_NAME, "a-host-1-2", "a-host")
    assert lock["version"] == lock["term"] > 0
    assert abs(lock["heartbeatTime"] / 1000 - time.time()) < 60
    assert (lock["state"], lock["master"]["alive"], lock["disabled"]) == ("Starting", True, None)


def test_a_lock_without_a_master_names_no_instance(client: ApiClient, lock_admin: LockOperations) -> None:
    lock_admin.disable(LOCK_NAME, "x", "ann")
    lock = client.get(f"/api/MasterLocks/{LOCK_NAME}").json
    assert (lock["instanceID"], lock["ipPort"], lock["heartbeatTime"], lock["version"]) == (None, None, None, 0)


def test_a_lock_that_has_never_been_used_is_a_404(client: ApiClient) -> None:
    for path in ("/api/MasterLocks/UNUSED", "/api/MasterLocks/UNUSED/history", "/api/MasterLocks/UNUSED/report"):
        answer = client.get(path)
        assert (answer.status, "UNUSED" in answer.message) == (404, True)


def test_all_locks_come_by_name_and_in_pages(client: ApiClient, lock_admin: LockOperations) -> None:
    for name in "DACB":
        lock_admin.disable(name, "x", "ann")
    first = client.get("/api/MasterLocks?limit=3")
    assert [lock["lockName"] for lock in first.json] == ["A", "B", "C"]
    assert first.headers["link"] == '<?limit=3&after=C>; rel="next"'
    last = client.get("/api/masterlocks?limit=3&after=C")
    assert [lock["lockName"] for lock in last.json] == ["D"]
    assert "link" not in last.headers


def test_what_is_disabled_has_a_reason_and_instructions(client: ApiClient, lock_admin: LockOperations) -> None:
    lock_admin.disable(LOCK_NAME, "moving", "file:default/beep", "file:default/beep")
    lock_admin.disable("ENABLED", "x", "ann")
    lock_admin.enable("ENABLED", "ann")
    (control,) = client.get("/api/MasterControls").json
    assert (control["lockName"], control["reason"], control["source"]) == (
        LOCK_NAME,
        "moving",
        "file:default/beep",
    )
    assert control["toEnable"].startswith("set enabled: true where file:default/beep was read from")
    assert abs(control["lastUpdatedTime"] / 1000 - time.time()) < 60


def test_a_report_has_the_availability_and_the_gaps(
    client: ApiClient, elect: Callable[..., None], database: Database
) -> None:
    elect()
    store, now = database.connect(5.0), clock()
    kinds = (TransitionKind.RUNNING, TransitionKind.TRUST_ENDED, TransitionKind.STOPPED)
    store.append_history(
        [
            HistoryEntry(LOCK_NAME, 1, kind, "text", "me", happened_at=now - ago)
            for ago, kind in zip((1000, 100, 100), kinds, strict=True)
        ]
    )
    store.close()
    report = client.get(f"/api/MasterLocks/{LOCK_NAME}/report?since=36h").json
    assert report["availability"] == pytest.approx(0.9, abs=0.02)
    (gap,) = report["gaps"]
    assert (gap["cause"], gap["end"]) == ("database_outage", None)
    assert report["causes"][0]["seconds"] == gap["seconds"]


def test_a_report_of_no_duration_is_refused(client: ApiClient, elect: Callable[..., None]) -> None:
    elect()
    for since in ("yesterday", "-1d", "99999d", "1d1d", ""):
        answer = client.get(f"/api/MasterLocks/{LOCK_NAME}/report?since={since}")
        assert (answer.status, "not a length of time" in answer.message) == (400, True)


def test_the_history_comes_newest_first_and_in_pages(client: ApiClient, lock_admin: LockOperations) -> None:
    for number in range(3):
        lock_admin.disable(LOCK_NAME, f"reason {number}", "ann")
        lock_admin.enable(LOCK_NAME, "ann")
    path = f"/api/MasterLocks/{LOCK_NAME}/history"
    page = client.get(f"{path}?limit=4")
    assert [each["kind"] for each in page.json] == ["enabled", "disabled"] * 2
    assert (page.json[1]["reason"], page.json[1]["actor"]) == ("reason 2", "ann")
    assert page.headers["link"] == '<?limit=4&offset=4>; rel="next"'
    rest = client.get(f"{path}?limit=4&offset=4")
    assert [each["reason"] for each in rest.json][1] == "reason 0"
    assert "link" not in rest.headers
    assert client.get(f"{path}?offset=1000").json == []


INVALID_QUERIES = (
    "limit=0",
    "limit=1001",
    "limit=-1",
    "limit=x",
    "limit=",
    "limit=1e2",
    "limit=%D9%A3",
    "limit=1&limit=1",
)


def test_an_invalid_page_is_a_400_with_the_parameters_name(client: ApiClient) -> None:
    for query in INVALID_QUERIES:
        answer = client.get(f"/api/MasterLocks?{query}")
        assert (answer.status, "limit" in answer.message) == (400, True)
    assert "offset" in client.get(f"/api/MasterLocks/{LOCK_NAME}/history?offset=1001").message
    assert client.get("/api/MasterControls?after=A&after=B").message == "after is given twice"


def test_unknown_paths_and_methods_are_errors_of_the_same_form(client: ApiClient) -> None:
    missing = client.get("/api/nothing")
    assert (missing.status, missing.message) == (404, "there is nothing at this path")
    wrong = client.get("/api/MasterControls/disable")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert wrong.message == "this path takes POST, not GET"
    assert client.request("DELETE", "/api/MasterLocks").message == "this path takes GET and HEAD, not DELETE"


@pytest.mark.parametrize(
    "path", ["/healthz", "/metrics", "/api/MasterLocks", "/explorer", "/api/masterlocks/UNUSED"]
)
def test_the_head_of_whatever_can_be_read_is_that_of_its_answer(path: str, client: ApiClient) -> None:
    head, answer = client.request("HEAD", path), client.get(path)
    assert (head.status, head.headers["content-type"]) == (answer.status, answer.headers["content-type"])
    assert (head.body, head.headers.keys()) == (b"", answer.headers.keys())
