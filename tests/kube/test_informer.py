"""The informer: updates in any order, and what it delivers."""

import itertools
import logging
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from masterjob.kube.api.errors import ApiUnavailable
from masterjob.kube.informer.informer import Informer
from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.resource.masterjob import ObjectMeta, Resource
from tests.timeouts import WAIT_TIMEOUT


def masterjob_body(name: str = "a", version: int | str = 1, uid: str = "", **fields: Any) -> dict[str, Any]:
    """Return an API object; ``fields`` are of its spec, except generation, namespace, created and status."""
    return {
        "apiVersion": "masterjob.io/v1alpha1",
        "kind": "MasterJob",
        "metadata": {
            "name": name,
            "namespace": fields.pop("namespace", "default"),
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "generation": fields.pop("generation", 1),
            "creationTimestamp": fields.pop("created", "2026-01-01T00:00:00Z"),
        },
        "status": fields.pop("status", {}),
        "spec": {"lockName": "LOCK", **fields},
    }


@dataclass
class InformerHarness:
    """An informer, the sink of its changes, and an API server with ``server_objects``."""

    current: dict[str, Resource] = field(default_factory=dict)
    deliveries: list[str] = field(default_factory=list)
    server_objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_server_down: bool = False

    def __post_init__(self) -> None:
        self.informer = Informer("here", self, self._on_change, self._fetch)

    def apply(self, source: str, resource: Resource) -> None:
        self.current[source] = resource
        self.deliveries.append(f"apply {source} {resource.object_meta.generation if resource.object_meta else ''}")

    def remove(self, source: str) -> None:
        del self.current[source]
        self.deliveries.append(f"remove {source}")

    def resync(self) -> None:
        self.deliveries.append("repeat")

    def _on_change(self, observed: ObservedResource) -> None:
        self.deliveries.append(f"changed {observed.uid} {observed.resource_version}")

    def _fetch(self, _: str, name: str) -> dict[str, Any] | None:
        if self.is_server_down:
            raise ApiUnavailable("down")
        return self.server_objects.get(name)

    def list_objects(self, *bodies: dict[str, Any], namespaces: tuple[str, ...] = ()) -> bool:
        """Replace the cache by a LIST during which nothing else happens."""
        return self.informer.replace(bodies, namespaces, self.informer.begin_list())

    def drain_deliveries(self) -> list[str]:
        """Return the calls since the last call of this method."""
        drained, self.deliveries = self.deliveries, []
        return drained


@pytest.fixture
def harness() -> InformerHarness:
    created = InformerHarness()
    created.informer.start_delivery()
    return created


# --- parsing


def test_an_object_is_a_resource_with_its_origin_and_locations(harness: InformerHarness) -> None:
    harness.informer.handle_event(
        "ADDED", masterjob_body(enabled=False, disabledReason="why", generation=3, status={"term": 7})
    )
    (observed,) = harness.informer.all()
    assert observed.resource is not None
    assert observed.resource.object_meta == ObjectMeta("here", 3, "2026-01-01T00:00:00Z")
    assert observed.resource.locate(("spec", "job")) == "MasterJob default/a spec.job"
    assert observed.resource.disabled_reason == "why"
    assert (observed.lock_name, observed.status) == ("LOCK", {"term": 7})
    assert harness.drain_deliveries() == ["apply uid-a 3", "changed uid-a 1"]


def test_an_invalid_resource_keeps_its_last_valid_spec_and_is_logged_once(
    harness: InformerHarness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    harness.informer.handle_event("ADDED", masterjob_body(version=1))
    for version in (2, 3):
        harness.informer.handle_event(
            "MODIFIED", masterjob_body(version=version, generation=2, heartbeatInterval="soon")
        )
    (observed,) = harness.informer.by_lock("LOCK")
    assert observed.resource is None
    assert observed.error == (
        "MasterJob default/a spec.heartbeatInterval must be from 0s to ten years, "
        "written like 500ms, 30s or 1m30s, not 'soon'"
    )
    assert harness.drain_deliveries() == ["apply uid-a 1", "changed uid-a 1", "changed uid-a 2", "changed uid-a 3"]
    harness.informer.handle_event("MODIFIED", masterjob_body(version=4, generation=3))
    assert harness.drain_deliveries() == ["apply uid-a 3", "changed uid-a 4"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{observed.error}; the last valid version stays in effect",
        "MasterJob default/a is valid again",
    ]


def test_a_resource_that_was_never_valid_is_reported_and_not_applied(harness: InformerHarness) -> None:
    harness.informer.handle_event("ADDED", masterjob_body(lockName=7))
    assert harness.drain_deliveries() == ["changed uid-a 1"]
    harness.informer.handle_event("DELETED", masterjob_body(version=2))
    assert harness.drain_deliveries() == []
    assert harness.informer.all() == []


def test_a_body_without_metadata_is_ignored(harness: InformerHarness) -> None:
    harness.informer.handle_event("ADDED", {"kind": "Status"})
    harness.informer.update({})
    assert harness.informer.all() == []


# --- order


def test_nothing_is_delivered_before_delivery_starts() -> None:
    harness = InformerHarness()
    harness.informer.handle_event(None, masterjob_body("b", 5, created="2026-01-01T00:00:02Z"))
    harness.informer.handle_event(None, masterjob_body("a", 6, created="2026-01-01T00:00:01Z"))
    harness.informer.handle_event(None, masterjob_body("c", 7))
    harness.informer.handle_event("DELETED", masterjob_body("c", 8))
    harness.informer.resync()
    assert harness.drain_deliveries() == []
    harness.informer.start_delivery()
    harness.informer.start_delivery()
    assert harness.drain_deliveries() == ["apply uid-a 1", "changed uid-a 6", "apply uid-b 1", "changed uid-b 5"]


def test_an_older_state_never_replaces_a_newer_one(harness: InformerHarness) -> None:
    harness.informer.handle_event("MODIFIED", masterjob_body(version=100, generation=2))
    harness.drain_deliveries()
    harness.informer.handle_event("MODIFIED", masterjob_body(version=99, generation=1))
    harness.informer.update(masterjob_body(version=98, generation=2))
    harness.informer.handle_event(None, masterjob_body(version=100, generation=2))
    assert harness.drain_deliveries() == []
    harness.informer.update(masterjob_body(version=101, generation=2, status={"term": 1}))
    assert harness.drain_deliveries() == ["changed uid-a 101"]


def test_versions_that_are_not_numbers_are_replaced_by_what_arrives_later(harness: InformerHarness) -> None:
    harness.informer.handle_event("ADDED", masterjob_body(version="x", generation=2))
    harness.informer.handle_event("MODIFIED", masterjob_body(version="y", generation=2))
    harness.informer.handle_event("MODIFIED", masterjob_body(version="z", generation=1))
    assert harness.drain_deliveries() == ["apply uid-a 2", "changed uid-a x", "changed uid-a y"]


def test_a_late_event_does_not_bring_back_a_deleted_object(harness: InformerHarness) -> None:
    harness.informer.handle_event("ADDED", masterjob_body(version=1))
    harness.informer.handle_event("DELETED", masterjob_body(version=5))
    harness.informer.handle_event("MODIFIED", masterjob_body(version=4))
    harness.informer.update(masterjob_body(version=3))
    epoch = harness.informer.begin_list()
    harness.informer.handle_event("ADDED", masterjob_body("b", 6))
    harness.informer.handle_event("DELETED", masterjob_body("b", 7))
    harness.informer.replace([masterjob_body("b", 6)], (), epoch)  # it had begun before the deletion
    assert harness.informer.all() == []
    assert harness.current == {}


def test_an_object_with_a_finalizer_exists_until_it_is_deleted(harness: InformerHarness) -> None:
    body = masterjob_body(version=2)
    body["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.org/other"]}
    harness.informer.handle_event("MODIFIED", body)
    assert list(harness.current) == ["uid-a"]
    harness.informer.handle_event("DELETED", body)
    assert harness.current == {}


def test_another_object_of_the_same_name_replaces_the_one_before(harness: InformerHarness) -> None:
    harness.informer.handle_event("ADDED", masterjob_body(version=10, uid="old"))
    harness.drain_deliveries()
    harness.informer.handle_event("ADDED", masterjob_body(version=20, uid="new"))
    assert harness.drain_deliveries() == ["remove old", "apply new 1", "changed new 20"]
    harness.informer.handle_event("MODIFIED", masterjob_body(version=15, uid="old"))
    harness.informer.handle_event("MODIFIED", masterjob_body(version=16, uid="older still"))
    assert harness.drain_deliveries() == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_whatever_the_order_of_updates_the_cache_is_the_same(
    harness: InformerHarness, order: tuple[int, ...]
) -> None:
    updates = [
        lambda: harness.informer.handle_event("ADDED", masterjob_body(version=10, uid="old")),
        lambda: harness.informer.handle_event("DELETED", masterjob_body(version=11, uid="old")),
        lambda: harness.informer.handle_event("ADDED", masterjob_body(version=12, uid="new")),
        lambda: harness.informer.update(masterjob_body(version=13, uid="new", generation=2, enabled=False)),
    ]
    for number in order:
        updates[number]()
    assert [(each.uid, each.resource_version) for each in harness.informer.all()] == [("new", "13")]
    assert list(harness.current) == ["new"]


# --- the LIST


def test_a_list_adds_and_changes(harness: InformerHarness) -> None:
    harness.informer.handle_event("ADDED", masterjob_body("a", 1))
    assert harness.list_objects(masterjob_body("a", 3, generation=2), masterjob_body("b", 2))
    assert harness.drain_deliveries()[2:] == [
        "apply uid-a 2",
        "changed uid-a 3",
        "apply uid-b 1",
        "changed uid-b 2",
    ]


def test_an_object_missing_from_a_list_is_deleted_once_that_is_confirmed(harness: InformerHarness) -> None:
    harness.informer.handle_event("ADDED", masterjob_body("a", 1))
    harness.informer.handle_event("ADDED", masterjob_body("b", 2))
    harness.server_objects = {"b": masterjob_body("b", 2)}
    assert harness.list_objects()
    assert list(harness.current) == ["uid-b"]


def test_an_object_that_was_created_again_is_another_one(harness: InformerHarness) -> None:
    harness.informer.handle_event("ADDED", masterjob_body("a", 1))
    harness.server_objects = {"a": masterjob_body("a", 9, "another")}
    assert harness.list_objects()
    assert list(harness.current) == ["another"]


def test_without_an_answer_nothing_is_deleted(harness: InformerHarness) -> None:
    harness.informer.handle_event("ADDED", masterjob_body("a", 1))
    harness.is_server_down = True
    assert not harness.list_objects()
    assert list(harness.current) == ["uid-a"]


def test_an_object_that_appears_during_a_list_is_not_missing_from_it(harness: InformerHarness) -> None:
    epoch = harness.informer.begin_list()
    harness.informer.handle_event("ADDED", masterjob_body("a", 1))
    assert harness.informer.replace([], (), epoch)
    assert list(harness.current) == ["uid-a"]


def test_a_list_of_one_namespace_deletes_nothing_in_another(harness: InformerHarness) -> None:
    harness.informer.handle_event("ADDED", masterjob_body("a", 1, namespace="one"))
    harness.informer.handle_event("ADDED", masterjob_body("b", 1, namespace="two"))
    assert harness.list_objects(namespaces=("one",))
    assert list(harness.current) == ["uid-b"]


def test_a_list_that_began_later_overrides_versions(harness: InformerHarness) -> None:
    """A cluster that was restored from a backup has older versions, and objects that were deleted."""
    harness.informer.handle_event("MODIFIED", masterjob_body("a", 100, generation=5))
    harness.informer.handle_event("DELETED", masterjob_body("b", 101))
    harness.drain_deliveries()
    assert harness.list_objects(masterjob_body("a", 50, generation=4), masterjob_body("b", 49))
    assert harness.drain_deliveries() == ["apply uid-a 4", "changed uid-a 50", "apply uid-b 1", "changed uid-b 49"]


def test_the_watch_is_behind_until_it_confirms_what_was_listed(harness: InformerHarness) -> None:
    harness.list_objects(masterjob_body("a", 1))
    assert harness.informer.is_watch_behind(0.0)
    assert not harness.informer.is_watch_behind(60.0)
    harness.informer.handle_event(None, masterjob_body("a", 1))
    assert not harness.informer.is_watch_behind(0.0)
    harness.informer.update(masterjob_body("a", 2, status={"term": 1}))
    assert harness.informer.is_watch_behind(0.0)
    harness.informer.handle_event("MODIFIED", masterjob_body("a", 1))
    assert harness.informer.is_watch_behind(0.0)
    harness.informer.handle_event("MODIFIED", masterjob_body("a", 2, status={"term": 1}))
    assert not harness.informer.is_watch_behind(0.0)


# --- all objects


def test_the_resources_of_a_lock_are_in_the_order_of_their_age(harness: InformerHarness) -> None:
    harness.informer.handle_event("ADDED", masterjob_body("b", 1))
    harness.informer.handle_event(
        "ADDED", masterjob_body("c", 2, created="2025-01-01T00:00:00Z", heartbeatInterval="soon")
    )
    harness.informer.handle_event("ADDED", masterjob_body("a", 3))
    harness.informer.handle_event("ADDED", masterjob_body("d", 4, lockName="OTHER"))
    assert [each.uid for each in harness.informer.by_lock("LOCK")] == ["uid-c", "uid-a", "uid-b"]
    harness.informer.handle_event("DELETED", masterjob_body("c", 5))
    assert [each.uid for each in harness.informer.by_lock("LOCK")] == ["uid-a", "uid-b"]
    assert harness.informer.by_lock("NONE") == []
    assert harness.informer.get("uid-c") is None


def test_a_sink_that_fails_gets_the_object_again_with_the_next_list(
    harness: InformerHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(harness, "apply", None)
        harness.informer.handle_event("ADDED", masterjob_body("a", 1))
    assert "a defect" in caplog.text
    assert harness.current == {}
    harness.list_objects(masterjob_body("a", 1))
    assert list(harness.current) == ["uid-a"]


def test_of_two_concurrent_updates_the_newer_is_delivered_last() -> None:
    """A delivery blocks; an update by another thread is delivered after it, and nothing twice."""
    inside, go_on = threading.Event(), threading.Event()
    harness = InformerHarness()
    apply = harness.apply

    def slowly(source: str, resource: Resource) -> None:
        if not inside.is_set():
            inside.set()
            assert go_on.wait(WAIT_TIMEOUT)
        apply(source, resource)

    harness.apply = slowly  # type: ignore[method-assign]
    harness.informer.start_delivery()
    threads = [
        threading.Thread(
            target=harness.informer.handle_event,
            args=("MODIFIED", masterjob_body(version=number, generation=number)),
        )
        for number in (1, 2)
    ]
    threads[0].start()
    assert inside.wait(WAIT_TIMEOUT)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(WAIT_TIMEOUT)
    assert harness.drain_deliveries()[-2:] == ["apply uid-a 2", "changed uid-a 2"]


def test_ten_thousand_objects_cost_no_more_each_than_ten(harness: InformerHarness) -> None:
    bodies = [masterjob_body(f"j{number}", number + 1, lockName=f"L{number}") for number in range(10_000)]
    assert harness.list_objects(*bodies)
    assert len(harness.current) == 10_000
    harness.drain_deliveries()
    for number, body in enumerate(bodies[:1000]):
        body["metadata"]["resourceVersion"] = str(20_000 + number)
        harness.informer.handle_event("MODIFIED", body)
    assert len(harness.drain_deliveries()) == 1000
