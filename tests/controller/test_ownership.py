"""The owner of a lock, and when the switch of a deleted source is removed; on virtual time."""

import pytest

from masterjob.controller import ownership as ownership_module
from masterjob.controller.ownership import TOMBSTONE_DELAY, LockOwnership
from masterjob.resource.masterjob import ObjectMeta, Resource


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(ownership_module, "clock", clock)
    return clock


def make_resource(name: str, created: str = "2026-01-01T00:00:00Z", *, enabled: bool = True) -> Resource:
    return Resource(
        name=name, lock_name="LOCK", job="job", enabled=enabled, object_meta=ObjectMeta("here", 1, created)
    )


def ranked_sources(ownership: LockOwnership) -> list[str]:
    return [source for source, _ in ownership.claimants("LOCK")]


def test_the_older_of_two_owns_the_lock_whichever_came_first() -> None:
    ownership = LockOwnership()
    assert ownership.upsert("uid-b", make_resource("b", "2026-01-02T00:00:00Z"))
    assert ownership.upsert("uid-a", make_resource("a", "2026-01-01T00:00:00Z"))
    assert ranked_sources(ownership) == ["uid-a", "uid-b"]


def test_all_instances_agree_on_the_owner_of_two_of_the_same_age() -> None:
    one, other = LockOwnership(), LockOwnership()
    for ownership, order in ((one, "ab"), (other, "ba")):
        for each in order:
            ownership.upsert(f"uid-{each}", make_resource(each))
    assert ranked_sources(one) == ranked_sources(other) == ["uid-a", "uid-b"]


def test_an_upsert_of_an_equal_resource_changes_nothing() -> None:
    ownership = LockOwnership()
    assert ownership.upsert("uid", make_resource("a"))
    assert not ownership.upsert("uid", make_resource("a"))
    assert ownership.upsert("uid", make_resource("a", enabled=False))


def test_the_switch_of_a_removed_enabled_resource_is_due_at_once(clock: FakeClock) -> None:
    ownership = LockOwnership()
    ownership.upsert("uid", make_resource("a"))
    assert ownership.remove("uid") == "LOCK"
    assert ownership.due_retractions("LOCK") == ["uid"]
    assert ownership.clear_retractions("LOCK", ["uid"]) is None
    assert ownership.lock_names() == []


def test_the_disable_of_a_removed_resource_stays_for_instances_that_lag(clock: FakeClock) -> None:
    ownership = LockOwnership()
    ownership.upsert("uid", make_resource("a", enabled=False))
    ownership.remove("uid")
    clock.now = 1.0
    assert ownership.due_retractions("LOCK") == []
    assert ownership.clear_retractions("LOCK", []) == TOMBSTONE_DELAY - 1.0
    clock.now = TOMBSTONE_DELAY
    assert ownership.due_retractions("LOCK") == ["uid"]


def test_the_disable_of_a_removed_resource_is_due_once_another_resource_owns_the_lock(clock: FakeClock) -> None:
    ownership = LockOwnership()
    ownership.upsert("uid", make_resource("a", enabled=False))
    ownership.remove("uid")
    ownership.upsert("uid-b", make_resource("b"))
    assert ownership.due_retractions("LOCK") == ["uid"]


def test_nothing_is_retracted_from_a_source_that_comes_back(clock: FakeClock) -> None:
    ownership = LockOwnership()
    ownership.upsert("uid", make_resource("a"))
    ownership.remove("uid")
    ownership.upsert("uid", make_resource("a"))
    assert ownership.due_retractions("LOCK") == []
    assert not ownership.mark_gone("LOCK", "uid")
    assert ownership.clear_retractions("LOCK", []) is None
    assert ownership.lock_names() == ["LOCK"]


def test_a_source_that_was_deleted_unseen_is_retracted(clock: FakeClock) -> None:
    ownership = LockOwnership()
    assert ownership.mark_gone("LOCK", "long-gone")
    assert ownership.due_retractions("LOCK") == ["long-gone"]
