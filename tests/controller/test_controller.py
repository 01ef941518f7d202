"""The controller: has done what resources say, and goes on doing it."""

import sqlite3
import threading
from pathlib import Path

import pytest

from masterjob.controller import sources
from masterjob.election.errors import StoreUnavailable
from masterjob.resource.resource import Origin, Resource
from masterjob.store.switchboard import Switchboard
from masterjob.store.verbs.declarations import Declaration
from tests.controller.conftest import PATIENCE, Scene
from tests.library.conftest import wait_until


def test_an_applied_resource_has_its_job_run(scene: Scene) -> None:
    scene.apply("a")
    scene.log.wait_for("one starts")
    assert scene.problem("a") is None


def test_to_apply_the_same_again_does_nothing(scene: Scene) -> None:
    scene.apply("a")
    scene.log.wait_for("one starts")
    scene.apply("a")
    scene.controller.repeat()
    assert scene.controller.wait_done(PATIENCE)
    assert scene.log.said == ["one starts"]


def test_a_disabled_resource_stops_its_job_and_says_why(scene: Scene) -> None:
    scene.apply("a")
    scene.log.wait_for("one starts")
    scene.apply("a", enabled=False, disabled_reason="moving")
    assert scene.disabled() == ("file:default/a", "moving")
    scene.log.wait_for("one starts", "one stops")
    scene.apply("a", disabled_reason="moving")  # a reason that is left over says nothing
    assert scene.disabled() is None
    scene.log.wait_for("one starts", "one stops", "one starts")


def test_a_resource_that_was_disabled_from_the_beginning_is_never_run(scene: Scene) -> None:
    scene.apply("a", enabled=False)
    assert scene.disabled() == ("file:default/a", "enabled is false")
    assert [event.kind for event in scene.people.history("LOCK")] == ["disabled"]


def test_a_changed_reason_is_seen(scene: Scene) -> None:
    scene.apply("a", enabled=False, disabled_reason="first")
    scene.apply("a", enabled=False, disabled_reason="second")
    assert scene.disabled() == ("file:default/a", "second")


def test_what_people_disable_stays_disabled_whatever_the_resource_says(scene: Scene) -> None:
    scene.apply("a", enabled=False)
    scene.people.disable("LOCK", "hands off", "ann")
    scene.apply("a", enabled=True)
    assert scene.disabled() == ("api", "hands off")


def test_another_timing_keeps_the_term(scene: Scene) -> None:
    scene.apply("a")
    scene.log.wait_for("one starts")
    scene.apply("a", options={"heartbeat_interval": "800ms"})
    wait_until(lambda: sessions(scene) == 1 and lease_of(scene) == 4000)
    scene.apply("a", options={"heartbeat_interval": "1s", "lease_duration": "5s"})
    wait_until(lambda: lease_of(scene) == 5000)
    assert scene.log.said == ["one starts"]
    assert scene.people.status("LOCK")[0].term == scene.log.terms[0]


def sessions(scene: Scene) -> int:
    return len(leases(scene))


def lease_of(scene: Scene) -> int | None:
    found = leases(scene)
    return found[0] if len(found) == 1 else None


def leases(scene: Scene) -> list[int]:
    with sqlite3.connect(scene.url.removeprefix("sqlite:///"), timeout=PATIENCE) as connection:
        return [row[0] for row in connection.execute("SELECT lease_ms FROM master_session")]


def test_an_unsafe_timing_keeps_the_last_good_state_and_is_told(scene: Scene) -> None:
    scene.apply("a")
    scene.log.wait_for("one starts")
    scene.apply("a", options={"lease_duration": "1s"})
    problem = scene.problem("a")
    assert problem is not None
    assert "leaseDuration 1s is too short" in problem
    assert "spec.leaseDuration" in problem
    assert scene.log.said == ["one starts"]
    scene.apply("a")
    assert scene.problem("a") is None


def test_another_job_takes_another_term(scene: Scene) -> None:
    scene.apply("a")
    scene.log.wait_for("one starts")
    scene.apply("a", job="two")
    scene.log.wait_for("one starts", "one stops", "two starts")
    assert scene.log.terms[1] > scene.log.terms[0]


def test_a_job_that_nobody_knows_is_told_and_the_others_go_on(scene: Scene) -> None:
    scene.apply("a", lock_name="A", job="nobody")
    scene.apply("b", lock_name="B")
    scene.log.wait_for("one starts")
    assert scene.problem("a") == "spec.job: no job 'nobody' is known here (known: broken, one, two)"
    assert scene.people.status("A") == [], "the lock is not competed for by this instance"


def test_a_job_that_cannot_be_had_is_told(scene: Scene) -> None:
    scene.apply("a", job="broken")
    assert scene.problem("a") == "the entry cannot be imported"


def test_a_removed_resource_frees_its_lock_and_takes_its_switch_along(scene: Scene) -> None:
    scene.apply("a")
    scene.log.wait_for("one starts")
    scene.apply("a", enabled=False)
    scene.remove("a")
    scene.log.wait_for("one starts", "one stops")
    wait_until(lambda: scene.people.status("LOCK")[0].master is None)
    assert scene.disabled() is None


def test_a_removed_resource_may_come_back_at_once(scene: Scene) -> None:
    for _ in range(3):
        scene.apply("a")
        scene.controller.remove("file:default/a")
        scene.apply("a")
    wait_until(lambda: bool(scene.log.said) and scene.log.said[-1] == "one starts")


def test_of_two_resources_with_one_lock_the_first_counts_and_the_second_switches_nothing(scene: Scene) -> None:
    scene.apply("a")
    scene.log.wait_for("one starts")
    scene.apply("b", enabled=False, job="two")
    problem = scene.problem("b")
    assert problem is not None
    assert "Conflict: lock LOCK belongs to default/a" in problem
    assert scene.disabled() is None
    assert scene.log.said == ["one starts"]
    scene.remove("a")
    assert scene.disabled() == ("file:default/b", "enabled is false")
    assert scene.problem("b") is None


def test_of_two_objects_with_one_lock_the_older_counts_whichever_came_first(scene: Scene) -> None:
    scene.apply("newer", enabled=False, origin=Origin("cluster", 1, "2026-01-02T00:00:00Z"))
    assert scene.disabled() == ("file:default/newer", "enabled is false")
    scene.apply("older", origin=Origin("cluster", 1, "2026-01-01T00:00:00Z"))
    assert scene.disabled() is None
    assert "belongs to default/older" in (scene.problem("newer") or "")
    scene.remove("older")
    assert scene.disabled() == ("file:default/newer", "enabled is false")


def test_what_a_source_left_behind_is_taken_back(scene: Scene) -> None:
    assert scene.controller.switches() == {}
    scene.people.declare("LOCK", Declaration("uid", "MasterJob ns/job", "moving", 1, "cluster", "ns", "job"))
    scene.controller.repeat()
    assert list(scene.controller.switches()) == [("LOCK", "uid")]
    scene.controller.take_back("LOCK", "uid")
    assert scene.controller.wait_done(PATIENCE)
    assert scene.disabled() is None


CREATED = "2026-01-01T00:00:00Z"


def test_an_object_that_was_disabled_while_the_database_was_silent_is_not_started_when_it_is_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.apply("a", origin=Origin("cluster", 1, CREATED))
    scene.log.wait_for("one starts")
    real, silent = Switchboard.declare, threading.Event()
    silent.set()

    def declare(self: Switchboard, lock_name: str, said: Declaration) -> bool:
        if silent.is_set():
            raise StoreUnavailable("no answer")
        return real(self, lock_name, said)

    monkeypatch.setattr(Switchboard, "declare", declare)
    disabled = Resource(name="a", lock_name="LOCK", job="one", enabled=False, origin=Origin("cluster", 2, CREATED))
    scene.controller.apply("file:default/a", disabled)
    scene.log.wait_for("one starts", "one stops")
    silent.clear()
    assert scene.controller.wait_done(PATIENCE)
    assert scene.disabled() == ("file:default/a", "enabled is false")
    assert scene.log.said == ["one starts", "one stops"]


def test_a_deleted_objects_disable_outlasts_it_for_those_who_have_not_heard_yet(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "LAST_WORD", 0.5)
    scene.apply("a", enabled=False, origin=Origin("cluster", 1, CREATED))
    scene.controller.remove("file:default/a")
    wait_until(lambda: scene.people.status("LOCK")[0].master is None)
    assert scene.disabled() is not None
    wait_until(lambda: scene.disabled() is None)


def test_a_new_object_takes_the_last_ones_disable_back_at_once(scene: Scene) -> None:
    scene.apply("a", enabled=False, origin=Origin("cluster", 1, CREATED))
    scene.controller.remove("file:default/a")
    scene.controller.apply(
        "file:default/b",
        Resource(name="b", lock_name="LOCK", job="one", origin=Origin("cluster", 1, CREATED)),
    )
    scene.log.wait_for("one starts")
    assert scene.disabled() is None


def test_a_switch_that_was_lost_in_the_database_is_written_again_when_that_is_doubted(scene: Scene) -> None:
    scene.apply("a", enabled=False, origin=Origin("cluster", 1, CREATED))
    scene.people.enable("LOCK", "ann", "file:default/a")
    assert scene.disabled() is None
    scene.controller.doubt("file:default/a")
    assert scene.controller.wait_done(PATIENCE)
    assert scene.disabled() == ("file:default/a", "enabled is false")


def test_the_generation_that_is_done_is_the_one_in_the_database(scene: Scene) -> None:
    assert scene.controller.generation_done("file:default/a") == 0
    scene.apply("a", origin=Origin("cluster", 3, CREATED))
    assert scene.controller.generation_done("file:default/a") == 3


def test_after_the_close_nothing_is_opened_any_more(scene: Scene) -> None:
    scene.controller.close()
    scene.controller.apply("file:default/a", resource("a", "LOCK", enabled=True))
    part = scene.controller._part
    part.take_part(resource("a", "LOCK", enabled=True))
    assert scene.process.instances() == []


def test_a_lock_is_told_to_be_settled_also_when_its_database_is_silent(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.apply("a")
    assert scene.settled == ["LOCK"]

    def silent(*_: object) -> bool:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(Switchboard, "declare", silent)
    scene.controller.apply("file:default/a", resource("a", "LOCK", enabled=False))
    wait_until(lambda: len(scene.settled) > 1)


def test_a_resource_that_goes_to_another_lock_takes_its_switch_along(scene: Scene) -> None:
    scene.apply("a", lock_name="A", enabled=False, disabled_reason="x")
    scene.apply("a", lock_name="B", enabled=False, disabled_reason="x")
    assert scene.disabled("A") is None
    assert scene.disabled("B") == ("file:default/a", "x")


def test_a_switch_that_cannot_be_written_is_tried_again_and_holds_up_no_other_lock(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, open_again = Switchboard.declare, threading.Event()

    def declare(self: Switchboard, lock_name: str, said: Declaration) -> bool:
        if lock_name == "A" and not open_again.is_set():
            raise StoreUnavailable("no answer")
        return real(self, lock_name, said)

    monkeypatch.setattr(Switchboard, "declare", declare)
    scene.controller.apply("file:default/a", resource("a", "A", enabled=False))
    scene.controller.apply("file:default/b", resource("b", "B", enabled=True))
    scene.log.wait_for("one starts")
    wait_until(lambda: "it is tried again: no answer" in (scene.problem("a") or ""))
    open_again.set()
    assert scene.controller.wait_done(PATIENCE)
    assert scene.disabled("A") is not None
    assert scene.problem("a") is None


def resource(name: str, lock_name: str, *, enabled: bool) -> Resource:
    return Resource(name=name, lock_name=lock_name, job="one", enabled=enabled)


def test_a_database_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    scene = Scene(f"sqlite:///{folder / 'masterjob.sqlite3'}")
    scene.controller.apply("file:default/a", resource("a", "A", enabled=True))
    wait_until(lambda: scene.problem("a") is not None)
    assert scene.controller.unreached() == "the database was not reached yet"
    folder.mkdir()
    scene.log.wait_for("one starts")
    wait_until(lambda: scene.controller.unreached() is None)
    scene.close()
