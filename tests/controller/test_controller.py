"""The controller: it reconciles what resources declare."""

import sqlite3
import threading
from pathlib import Path

import pytest

from masterjob.controller import ownership
from masterjob.errors import StoreUnavailable
from masterjob.resource.masterjob import ObjectMeta, Resource
from masterjob.store.admin import LockAdmin
from masterjob.store.queries.declared_switches import SwitchSpec
from tests.controller.conftest import ControllerHarness
from tests.library.conftest import silent_notifier, wait_until  # noqa: F401 - a fixture
from tests.timeouts import WAIT_TIMEOUT


def test_the_job_of_an_applied_resource_runs(harness: ControllerHarness) -> None:
    harness.apply("a")
    harness.log.wait_for("one starts")
    assert harness.problem_message("a") is None


def test_applying_the_same_again_does_nothing(harness: ControllerHarness) -> None:
    harness.apply("a")
    harness.log.wait_for("one starts")
    harness.apply("a")
    harness.controller.resync()
    assert harness.controller.wait_idle(WAIT_TIMEOUT)
    assert harness.log.entries == ["one starts"]


def test_a_disabled_resource_stops_its_job_and_says_why(harness: ControllerHarness) -> None:
    harness.apply("a")
    harness.log.wait_for("one starts")
    harness.apply("a", enabled=False, disabled_reason="moving")
    assert harness.disabled_by() == ("file:default/a", "moving")
    harness.log.wait_for("one starts", "one stops")
    harness.apply("a", disabled_reason="moving")  # a reason that is left over has no effect
    assert harness.disabled_by() is None
    harness.log.wait_for("one starts", "one stops", "one starts")


@pytest.mark.usefixtures("silent_notifier")
def test_a_switch_reaches_the_elector_of_this_process_without_the_database(harness: ControllerHarness) -> None:
    slow = {"heartbeat_interval": "60s", "lease_duration": "180s"}  # no heartbeat comes within the test
    harness.apply("a", options=slow)
    harness.log.wait_for("one starts")
    harness.apply("a", options=slow, enabled=False)
    harness.log.wait_for("one starts", "one stops")
    harness.apply("a", options=slow)
    harness.log.wait_for("one starts", "one stops", "one starts")
    harness.apply("a", options=slow, enabled=False)
    harness.log.wait_for("one starts", "one stops", "one starts", "one stops")
    harness.remove("a")
    harness.apply("b", options=slow)
    harness.log.wait_for("one starts", "one stops", "one starts", "one stops", "one starts")


def test_the_job_of_a_resource_that_was_disabled_from_the_start_never_runs(harness: ControllerHarness) -> None:
    harness.apply("a", enabled=False)
    assert harness.disabled_by() == ("file:default/a", "enabled is false")
    assert [event.kind for event in harness.admin.history("LOCK")] == ["disabled"]


def test_a_changed_reason_is_seen(harness: ControllerHarness) -> None:
    harness.apply("a", enabled=False, disabled_reason="first")
    harness.apply("a", enabled=False, disabled_reason="second")
    assert harness.disabled_by() == ("file:default/a", "second")


def test_a_disable_by_the_api_stays_whatever_the_resource_declares(harness: ControllerHarness) -> None:
    harness.apply("a", enabled=False)
    harness.admin.disable("LOCK", "hands off", "ann")
    harness.apply("a", enabled=True)
    assert harness.disabled_by() == ("api", "hands off")


def test_another_timing_keeps_the_term(harness: ControllerHarness) -> None:
    harness.apply("a")
    harness.log.wait_for("one starts")
    harness.apply("a", options={"heartbeat_interval": "800ms"})
    wait_until(lambda: session_count(harness) == 1 and only_lease_ms(harness) == 60_000)
    harness.apply("a", options={"heartbeat_interval": "1s", "lease_duration": "70s"})
    wait_until(lambda: only_lease_ms(harness) == 70_000)
    assert harness.log.entries == ["one starts"]
    assert harness.admin.status("LOCK")[0].term == harness.log.terms[0]


def session_count(harness: ControllerHarness) -> int:
    return len(leases_ms(harness))


def only_lease_ms(harness: ControllerHarness) -> int | None:
    leases = leases_ms(harness)
    return leases[0] if len(leases) == 1 else None


def leases_ms(harness: ControllerHarness) -> list[int]:
    with sqlite3.connect(harness.url.removeprefix("sqlite:///"), timeout=WAIT_TIMEOUT) as connection:
        return [row[0] for row in connection.execute("SELECT lease_ms FROM master_session")]


def test_an_unsafe_timing_keeps_the_last_good_state_and_is_reported(harness: ControllerHarness) -> None:
    harness.apply("a")
    harness.log.wait_for("one starts")
    harness.apply("a", options={"lease_duration": "1s"})
    problem = harness.problem_message("a")
    assert problem is not None
    assert "leaseDuration 1s is too short" in problem
    assert "spec.leaseDuration" in problem
    assert harness.log.entries == ["one starts"]
    harness.apply("a")
    assert harness.problem_message("a") is None


def test_another_job_takes_another_term(harness: ControllerHarness) -> None:
    harness.apply("a")
    harness.log.wait_for("one starts")
    harness.apply("a", job="two")
    harness.log.wait_for("one starts", "one stops", "two starts")
    assert harness.log.terms[1] > harness.log.terms[0]


def test_an_unknown_job_is_reported_and_the_others_run(harness: ControllerHarness) -> None:
    harness.apply("a", lock_name="A", job="unknown")
    harness.apply("b", lock_name="B")
    harness.log.wait_for("one starts")
    assert harness.problem_message("a") == "spec.job: no job 'unknown' is known here (known: broken, one, two)"
    assert harness.admin.status("A") == [], "the lock is not competed for by this instance"


def test_a_job_that_cannot_be_imported_is_reported(harness: ControllerHarness) -> None:
    harness.apply("a", job="broken")
    assert harness.problem_message("a") == "the entry cannot be imported"


def test_a_removed_resource_frees_its_lock_and_retracts_its_switch(harness: ControllerHarness) -> None:
    harness.apply("a")
    harness.log.wait_for("one starts")
    harness.apply("a", enabled=False)
    harness.remove("a")
    harness.log.wait_for("one starts", "one stops")
    wait_until(lambda: harness.admin.status("LOCK")[0].master is None)
    assert harness.disabled_by() is None


def test_a_removed_resource_may_come_back_at_once(harness: ControllerHarness) -> None:
    for _ in range(3):
        harness.apply("a")
        harness.controller.remove("file:default/a")
        harness.apply("a")
    wait_until(lambda: bool(harness.log.entries) and harness.log.entries[-1] == "one starts")


def test_the_first_of_two_resources_with_one_lock_owns_it_and_the_second_switches_nothing(
    harness: ControllerHarness,
) -> None:
    harness.apply("a")
    harness.log.wait_for("one starts")
    harness.apply("b", enabled=False, job="two")
    problem = harness.problem_message("b")
    assert problem is not None
    assert "Conflict: lock LOCK belongs to default/a" in problem
    assert harness.disabled_by() is None
    assert harness.log.entries == ["one starts"]
    harness.remove("a")
    assert harness.disabled_by() == ("file:default/b", "enabled is false")
    assert harness.problem_message("b") is None


def test_the_older_of_two_objects_with_one_lock_owns_it_whichever_came_first(harness: ControllerHarness) -> None:
    harness.apply("newer", enabled=False, object_meta=ObjectMeta("cluster", 1, "2026-01-02T00:00:00Z"))
    assert harness.disabled_by() == ("file:default/newer", "enabled is false")
    harness.apply("older", object_meta=ObjectMeta("cluster", 1, "2026-01-01T00:00:00Z"))
    assert harness.disabled_by() is None
    assert "belongs to default/older" in (harness.problem_message("newer") or "")
    harness.remove("older")
    assert harness.disabled_by() == ("file:default/newer", "enabled is false")


def test_an_orphaned_switch_is_retracted(harness: ControllerHarness) -> None:
    assert harness.controller.stored_switches() == {}
    harness.admin.apply_switch("LOCK", SwitchSpec("uid", "MasterJob ns/job", "moving", 1, "cluster", "ns", "job"))
    harness.controller.resync()
    assert list(harness.controller.stored_switches()) == [("LOCK", "uid")]
    harness.controller.retract_switch("LOCK", "uid")
    assert harness.controller.wait_idle(WAIT_TIMEOUT)
    assert harness.disabled_by() is None


CREATED = "2026-01-01T00:00:00Z"


def test_an_object_that_was_disabled_during_an_outage_of_the_database_is_not_started_after_it(
    harness: ControllerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.apply("a", object_meta=ObjectMeta("cluster", 1, CREATED))
    harness.log.wait_for("one starts")
    original, silent = LockAdmin.apply_switch, threading.Event()
    silent.set()

    def apply_switch(self: LockAdmin, lock_name: str, spec: SwitchSpec) -> bool:
        if silent.is_set():
            raise StoreUnavailable("no answer")
        return original(self, lock_name, spec)

    monkeypatch.setattr(LockAdmin, "apply_switch", apply_switch)
    disabled = Resource(
        name="a", lock_name="LOCK", job="one", enabled=False, object_meta=ObjectMeta("cluster", 2, CREATED)
    )
    harness.controller.apply("file:default/a", disabled)
    harness.log.wait_for("one starts", "one stops")
    silent.clear()
    assert harness.controller.wait_idle(WAIT_TIMEOUT)
    assert harness.disabled_by() == ("file:default/a", "enabled is false")
    assert harness.log.entries == ["one starts", "one stops"]


def test_the_disable_of_a_deleted_object_stays_for_instances_that_lag(
    harness: ControllerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "TOMBSTONE_DELAY", 5.0)
    harness.apply("a", enabled=False, object_meta=ObjectMeta("cluster", 1, CREATED))
    harness.controller.remove("file:default/a")
    wait_until(lambda: harness.admin.status("LOCK")[0].master is None)
    assert harness.disabled_by() is not None
    wait_until(lambda: harness.disabled_by() is None)


def test_a_new_object_removes_the_disable_of_the_deleted_one_at_once(harness: ControllerHarness) -> None:
    harness.apply("a", enabled=False, object_meta=ObjectMeta("cluster", 1, CREATED))
    harness.controller.remove("file:default/a")
    harness.controller.apply(
        "file:default/b",
        Resource(name="b", lock_name="LOCK", job="one", object_meta=ObjectMeta("cluster", 1, CREATED)),
    )
    harness.log.wait_for("one starts")
    assert harness.disabled_by() is None


def test_a_switch_that_the_database_has_lost_is_written_again_when_it_is_requeued(
    harness: ControllerHarness,
) -> None:
    harness.apply("a", enabled=False, object_meta=ObjectMeta("cluster", 1, CREATED))
    harness.admin.enable("LOCK", "ann", "file:default/a")
    assert harness.disabled_by() is None
    harness.controller.requeue("file:default/a")
    assert harness.controller.wait_idle(WAIT_TIMEOUT)
    assert harness.disabled_by() == ("file:default/a", "enabled is false")


def test_the_written_generation_is_the_one_in_the_database(harness: ControllerHarness) -> None:
    assert harness.controller.written_generation("file:default/a") == 0
    harness.apply("a", object_meta=ObjectMeta("cluster", 3, CREATED))
    assert harness.controller.written_generation("file:default/a") == 3


def test_nothing_is_opened_after_the_close(harness: ControllerHarness) -> None:
    harness.controller.close()
    harness.controller.apply("file:default/a", make_resource("a", "LOCK", enabled=True))
    managed_locks = harness.controller._managed_locks
    managed_locks.ensure(make_resource("a", "LOCK", enabled=True))
    assert harness.runtime.instances() == []


def test_a_lock_is_reported_as_reconciled_even_if_its_database_is_silent(
    harness: ControllerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.apply("a")
    assert harness.reconciled == ["LOCK"]

    def silent(*_: object) -> bool:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(LockAdmin, "apply_switch", silent)
    harness.controller.apply("file:default/a", make_resource("a", "LOCK", enabled=False))
    wait_until(lambda: len(harness.reconciled) > 1)


def test_a_resource_that_goes_to_another_lock_retracts_its_old_switch(harness: ControllerHarness) -> None:
    harness.apply("a", lock_name="A", enabled=False, disabled_reason="x")
    harness.apply("a", lock_name="B", enabled=False, disabled_reason="x")
    assert harness.disabled_by("A") is None
    assert harness.disabled_by("B") == ("file:default/a", "x")


def test_a_switch_that_cannot_be_written_is_retried_and_holds_up_no_other_lock(
    harness: ControllerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, available = LockAdmin.apply_switch, threading.Event()

    def apply_switch(self: LockAdmin, lock_name: str, spec: SwitchSpec) -> bool:
        if lock_name == "A" and not available.is_set():
            raise StoreUnavailable("no answer")
        return original(self, lock_name, spec)

    monkeypatch.setattr(LockAdmin, "apply_switch", apply_switch)
    harness.controller.apply("file:default/a", make_resource("a", "A", enabled=False))
    harness.controller.apply("file:default/b", make_resource("b", "B", enabled=True))
    harness.log.wait_for("one starts")
    wait_until(lambda: "is retried: no answer" in (harness.problem_message("a") or ""))
    available.set()
    assert harness.controller.wait_idle(WAIT_TIMEOUT)
    assert harness.disabled_by("A") is not None
    assert harness.problem_message("a") is None


def make_resource(name: str, lock_name: str, *, enabled: bool) -> Resource:
    return Resource(name=name, lock_name=lock_name, job="one", enabled=enabled)


def test_the_controller_waits_for_a_database_that_does_not_exist_yet(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    harness = ControllerHarness(f"sqlite:///{folder / 'masterjob.sqlite3'}")
    harness.controller.apply("file:default/a", make_resource("a", "A", enabled=True))
    wait_until(lambda: harness.problem_message("a") is not None)
    assert harness.controller.check_database_reached() == "the database was not reached yet"
    folder.mkdir()
    harness.log.wait_for("one starts")
    wait_until(lambda: harness.controller.check_database_reached() is None)
    harness.close()
