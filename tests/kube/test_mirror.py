"""The picture of all MasterJobs: what is learned in whatever order, and what is told of it."""

import itertools
import logging
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from masterjob.kube.api.answers import ApiUnavailable
from masterjob.kube.follow.mirror import Mirror
from masterjob.kube.follow.observed import Observed
from masterjob.resource.resource import Origin, Resource


def masterjob(name: str = "a", version: int | str = 1, uid: str = "", **more: Any) -> dict[str, Any]:
    """An object of the API; ``more`` is of its spec, but for generation, namespace, created and status."""
    return {
        "apiVersion": "masterjob.io/v1alpha1",
        "kind": "MasterJob",
        "metadata": {
            "name": name,
            "namespace": more.pop("namespace", "default"),
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "generation": more.pop("generation", 1),
            "creationTimestamp": more.pop("created", "2026-01-01T00:00:00Z"),
        },
        "status": more.pop("status", {}),
        "spec": {"lockName": "LOCK", **more},
    }


@dataclass
class Scene:
    """A mirror, who follows it, and an API server that knows ``there``."""

    now: dict[str, Resource] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    there: dict[str, dict[str, Any]] = field(default_factory=dict)
    silent: bool = False

    def __post_init__(self) -> None:
        self.mirror = Mirror("here", self, self._changed, self._confirm)

    def apply(self, source: str, resource: Resource) -> None:
        self.now[source] = resource
        self.told.append(f"apply {source} {resource.origin.generation if resource.origin else ''}")

    def remove(self, source: str) -> None:
        del self.now[source]
        self.told.append(f"remove {source}")

    def repeat(self) -> None:
        self.told.append("repeat")

    def _changed(self, observed: Observed) -> None:
        self.told.append(f"changed {observed.uid} {observed.resource_version}")

    def _confirm(self, _: str, name: str) -> dict[str, Any] | None:
        if self.silent:
            raise ApiUnavailable("down")
        return self.there.get(name)

    def lists(self, *bodies: dict[str, Any], namespaces: tuple[str, ...] = ()) -> bool:
        """A LIST that begins and ends with nothing in between."""
        return self.mirror.listed(bodies, namespaces, self.mirror.begin())

    def heard(self) -> list[str]:
        """What was told since this was asked last."""
        told, self.told = self.told, []
        return told


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.mirror.open()
    return scene


# --- what an object says


def test_an_object_is_a_resource_with_its_origin_and_places(scene: Scene) -> None:
    scene.mirror.seen("ADDED", masterjob(enabled=False, disabledReason="why", generation=3, status={"term": 7}))
    (observed,) = scene.mirror.all()
    assert observed.resource is not None
    assert observed.resource.origin == Origin("here", 3, "2026-01-01T00:00:00Z")
    assert observed.resource.where(("spec", "job")) == "MasterJob default/a spec.job"
    assert observed.resource.disabled_reason == "why"
    assert (observed.lock_name, observed.status) == ("LOCK", {"term": 7})
    assert scene.heard() == ["apply uid-a 3", "changed uid-a 1"]


def test_a_bad_resource_keeps_what_was_good_and_says_so_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scene.mirror.seen("ADDED", masterjob(version=1))
    for version in (2, 3):
        scene.mirror.seen("MODIFIED", masterjob(version=version, generation=2, heartbeatInterval="soon"))
    (observed,) = scene.mirror.by_lock("LOCK")
    assert observed.resource is None
    assert observed.error == (
        "MasterJob default/a spec.heartbeatInterval: 'soon' is not a duration: write it like 500ms, 30s or 1m30s"
    )
    assert scene.heard() == ["apply uid-a 1", "changed uid-a 1", "changed uid-a 2", "changed uid-a 3"]
    scene.mirror.seen("MODIFIED", masterjob(version=4, generation=3))
    assert scene.heard() == ["apply uid-a 3", "changed uid-a 4"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{observed.error}; what was read of it before stays in effect",
        "MasterJob default/a is good again",
    ]


def test_what_was_never_good_is_shown_and_not_applied(scene: Scene) -> None:
    scene.mirror.seen("ADDED", masterjob(lockName=7))
    assert scene.heard() == ["changed uid-a 1"]
    scene.mirror.seen("DELETED", masterjob(version=2))
    assert scene.heard() == []
    assert scene.mirror.all() == []


def test_what_is_no_object_is_nothing(scene: Scene) -> None:
    scene.mirror.seen("ADDED", {"kind": "Status"})
    scene.mirror.note({})
    assert scene.mirror.all() == []


# --- order


def test_nothing_is_told_before_the_mirror_is_opened() -> None:
    scene = Scene()
    scene.mirror.seen(None, masterjob("b", 5, created="2026-01-01T00:00:02Z"))
    scene.mirror.seen(None, masterjob("a", 6, created="2026-01-01T00:00:01Z"))
    scene.mirror.seen(None, masterjob("c", 7))
    scene.mirror.seen("DELETED", masterjob("c", 8))
    scene.mirror.repeat()
    assert scene.heard() == []
    scene.mirror.open()
    scene.mirror.open()
    assert scene.heard() == ["apply uid-a 1", "changed uid-a 6", "apply uid-b 1", "changed uid-b 5"]


def test_something_older_never_comes_over_something_newer(scene: Scene) -> None:
    scene.mirror.seen("MODIFIED", masterjob(version=100, generation=2))
    scene.heard()
    scene.mirror.seen("MODIFIED", masterjob(version=99, generation=1))
    scene.mirror.note(masterjob(version=98, generation=2))
    scene.mirror.seen(None, masterjob(version=100, generation=2))
    assert scene.heard() == []
    scene.mirror.note(masterjob(version=101, generation=2, status={"term": 1}))
    assert scene.heard() == ["changed uid-a 101"]


def test_versions_that_are_no_numbers_give_way_to_what_comes_later(scene: Scene) -> None:
    scene.mirror.seen("ADDED", masterjob(version="x", generation=2))
    scene.mirror.seen("MODIFIED", masterjob(version="y", generation=2))
    scene.mirror.seen("MODIFIED", masterjob(version="z", generation=1))
    assert scene.heard() == ["apply uid-a 2", "changed uid-a x", "changed uid-a y"]


def test_a_late_event_resurrects_nothing(scene: Scene) -> None:
    scene.mirror.seen("ADDED", masterjob(version=1))
    scene.mirror.seen("DELETED", masterjob(version=5))
    scene.mirror.seen("MODIFIED", masterjob(version=4))
    scene.mirror.note(masterjob(version=3))
    began = scene.mirror.begin()
    scene.mirror.seen("ADDED", masterjob("b", 6))
    scene.mirror.seen("DELETED", masterjob("b", 7))
    scene.mirror.listed([masterjob("b", 6)], (), began)  # it had begun before
    assert scene.mirror.all() == []
    assert scene.now == {}


def test_one_that_ends_but_has_a_finalizer_is_still_there(scene: Scene) -> None:
    body = masterjob(version=2)
    body["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["somebody"]}
    scene.mirror.seen("MODIFIED", body)
    assert list(scene.now) == ["uid-a"]
    scene.mirror.seen("DELETED", body)
    assert scene.now == {}


def test_another_object_of_the_same_name_takes_the_place_of_the_one_before(scene: Scene) -> None:
    scene.mirror.seen("ADDED", masterjob(version=10, uid="old"))
    scene.heard()
    scene.mirror.seen("ADDED", masterjob(version=20, uid="new"))
    assert scene.heard() == ["remove old", "apply new 1", "changed new 20"]
    scene.mirror.seen("MODIFIED", masterjob(version=15, uid="old"))
    scene.mirror.seen("MODIFIED", masterjob(version=16, uid="older still"))
    assert scene.heard() == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_whatever_the_order_of_what_is_learned_the_picture_is_the_same(
    scene: Scene, order: tuple[int, ...]
) -> None:
    news = [
        lambda: scene.mirror.seen("ADDED", masterjob(version=10, uid="old")),
        lambda: scene.mirror.seen("DELETED", masterjob(version=11, uid="old")),
        lambda: scene.mirror.seen("ADDED", masterjob(version=12, uid="new")),
        lambda: scene.mirror.note(masterjob(version=13, uid="new", generation=2, enabled=False)),
    ]
    for number in order:
        news[number]()
    assert [(each.uid, each.resource_version) for each in scene.mirror.all()] == [("new", "13")]
    assert list(scene.now) == ["new"]


# --- the LIST


def test_a_list_adds_and_changes(scene: Scene) -> None:
    scene.mirror.seen("ADDED", masterjob("a", 1))
    assert scene.lists(masterjob("a", 3, generation=2), masterjob("b", 2))
    assert scene.heard()[2:] == ["apply uid-a 2", "changed uid-a 3", "apply uid-b 1", "changed uid-b 2"]


def test_what_a_list_lacks_is_gone_once_that_is_confirmed(scene: Scene) -> None:
    scene.mirror.seen("ADDED", masterjob("a", 1))
    scene.mirror.seen("ADDED", masterjob("b", 2))
    scene.there = {"b": masterjob("b", 2)}
    assert scene.lists()
    assert list(scene.now) == ["uid-b"]


def test_what_was_made_again_under_its_name_is_another_one(scene: Scene) -> None:
    scene.mirror.seen("ADDED", masterjob("a", 1))
    scene.there = {"a": masterjob("a", 9, "another")}
    assert scene.lists()
    assert list(scene.now) == ["another"]


def test_without_an_answer_nothing_is_gone(scene: Scene) -> None:
    scene.mirror.seen("ADDED", masterjob("a", 1))
    scene.silent = True
    assert not scene.lists()
    assert list(scene.now) == ["uid-a"]


def test_what_became_known_while_the_list_was_made_is_not_missed_by_it(scene: Scene) -> None:
    began = scene.mirror.begin()
    scene.mirror.seen("ADDED", masterjob("a", 1))
    assert scene.mirror.listed([], (), began)
    assert list(scene.now) == ["uid-a"]


def test_a_list_of_one_namespace_says_nothing_of_another(scene: Scene) -> None:
    scene.mirror.seen("ADDED", masterjob("a", 1, namespace="one"))
    scene.mirror.seen("ADDED", masterjob("b", 1, namespace="two"))
    assert scene.lists(namespaces=("one",))
    assert list(scene.now) == ["uid-b"]


def test_a_list_that_began_later_knows_better_than_versions(scene: Scene) -> None:
    """A cluster that was restored from its backup has older versions, and objects that were gone."""
    scene.mirror.seen("MODIFIED", masterjob("a", 100, generation=5))
    scene.mirror.seen("DELETED", masterjob("b", 101))
    scene.heard()
    assert scene.lists(masterjob("a", 50, generation=4), masterjob("b", 49))
    assert scene.heard() == ["apply uid-a 4", "changed uid-a 50", "apply uid-b 1", "changed uid-b 49"]


def test_what_the_watch_has_not_told_is_known_to_be_unheard(scene: Scene) -> None:
    scene.lists(masterjob("a", 1))
    assert scene.mirror.unheard(0.0)
    assert not scene.mirror.unheard(60.0)
    scene.mirror.seen(None, masterjob("a", 1))
    assert not scene.mirror.unheard(0.0)
    scene.mirror.note(masterjob("a", 2, status={"term": 1}))
    assert scene.mirror.unheard(0.0)
    scene.mirror.seen("MODIFIED", masterjob("a", 1))
    assert scene.mirror.unheard(0.0)
    scene.mirror.seen("MODIFIED", masterjob("a", 2, status={"term": 1}))
    assert not scene.mirror.unheard(0.0)


# --- the picture


def test_the_resources_of_a_lock_are_in_the_order_of_their_age(scene: Scene) -> None:
    scene.mirror.seen("ADDED", masterjob("b", 1))
    scene.mirror.seen("ADDED", masterjob("c", 2, created="2025-01-01T00:00:00Z", heartbeatInterval="soon"))
    scene.mirror.seen("ADDED", masterjob("a", 3))
    scene.mirror.seen("ADDED", masterjob("d", 4, lockName="OTHER"))
    assert [each.uid for each in scene.mirror.by_lock("LOCK")] == ["uid-c", "uid-a", "uid-b"]
    scene.mirror.seen("DELETED", masterjob("c", 5))
    assert [each.uid for each in scene.mirror.by_lock("LOCK")] == ["uid-a", "uid-b"]
    assert scene.mirror.by_lock("NONE") == []
    assert scene.mirror.get("uid-c") is None


def test_a_follower_that_fails_is_told_again_by_the_next_list(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(scene, "apply", None)
        scene.mirror.seen("ADDED", masterjob("a", 1))
    assert "a defect" in caplog.text
    assert scene.now == {}
    scene.lists(masterjob("a", 1))
    assert list(scene.now) == ["uid-a"]


def test_of_two_who_learn_at_once_the_newer_is_told_last() -> None:
    """One thread is held up in telling; what another has learned meanwhile is told after it, and nothing twice."""
    inside, go_on = threading.Event(), threading.Event()
    scene = Scene()
    apply = scene.apply

    def slowly(source: str, resource: Resource) -> None:
        if not inside.is_set():
            inside.set()
            assert go_on.wait(20)
        apply(source, resource)

    scene.apply = slowly  # type: ignore[method-assign]
    scene.mirror.open()
    threads = [
        threading.Thread(target=scene.mirror.seen, args=("MODIFIED", masterjob(version=number, generation=number)))
        for number in (1, 2)
    ]
    threads[0].start()
    assert inside.wait(20)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert scene.heard()[-2:] == ["apply uid-a 2", "changed uid-a 2"]


def test_ten_thousand_objects_cost_no_more_each_than_ten(scene: Scene) -> None:
    bodies = [masterjob(f"j{number}", number + 1, lockName=f"L{number}") for number in range(10_000)]
    assert scene.lists(*bodies)
    assert len(scene.now) == 10_000
    scene.heard()
    for number, body in enumerate(bodies[:1000]):
        body["metadata"]["resourceVersion"] = str(20_000 + number)
        scene.mirror.seen("MODIFIED", body)
    assert len(scene.heard()) == 1000
