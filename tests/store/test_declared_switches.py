"""The switches of resources: a declaration replaces the last one, and an older one is ignored."""

from masterjob.lock_status import DisabledStatus
from masterjob.store.queries.declared_switches import SwitchSpec
from tests.store.conftest import SqlBackend

FILE = "file:default/job"


def file_spec(reason: str | None) -> SwitchSpec:
    return SwitchSpec(FILE, FILE, reason)


def object_spec(generation: int, reason: str | None, uid: str = "uid-1") -> SwitchSpec:
    return SwitchSpec(uid, "MasterJob ns/job", reason, generation, "cluster", "ns", "job")


def disabled(sql_backend: SqlBackend) -> DisabledStatus | None:
    found = sql_backend.admin.status("job")
    return found[0].disabled if found else None


def test_a_corrected_reason_keeps_its_time(sql_backend: SqlBackend) -> None:
    assert sql_backend.admin.apply_switch("job", file_spec("first"))
    before = disabled(sql_backend)
    assert sql_backend.admin.apply_switch("job", file_spec("second"))
    assert not sql_backend.admin.apply_switch("job", file_spec("second"))
    after = disabled(sql_backend)
    assert before is not None
    assert after is not None
    assert (after.reason, after.since) == ("second", before.since)
    assert [event.reason for event in sql_backend.admin.history("job")] == ["second", "first"]


def test_a_file_that_enables_leaves_no_row(sql_backend: SqlBackend) -> None:
    assert sql_backend.admin.apply_switch("job", file_spec("first"))
    assert sql_backend.admin.apply_switch("job", file_spec(None))
    assert sql_backend.admin.list_switches() == []
    assert sql_backend.admin.status("job")[0].enabled


def test_an_object_is_named_by_namespace_and_name(sql_backend: SqlBackend) -> None:
    assert sql_backend.admin.apply_switch("job", object_spec(1, "moving"))
    found = disabled(sql_backend)
    assert found is not None
    assert (found.source, found.resource, found.by) == ("uid-1", "ns/job", "MasterJob ns/job")


def test_an_older_generation_cannot_undo_a_newer_one(sql_backend: SqlBackend) -> None:
    assert sql_backend.admin.apply_switch("job", object_spec(2, "moving"))
    assert sql_backend.admin.apply_switch("job", object_spec(3, None))
    assert not sql_backend.admin.apply_switch("job", object_spec(2, "moving"))
    assert sql_backend.admin.status("job")[0].enabled
    assert sql_backend.admin.apply_switch("job", object_spec(4, "again"))
    assert not sql_backend.admin.apply_switch("job", object_spec(3, None))
    assert not sql_backend.admin.status("job")[0].enabled


def test_a_newer_generation_that_was_always_enabled_stands_against_an_older_disable(
    sql_backend: SqlBackend,
) -> None:
    assert not sql_backend.admin.apply_switch("job", object_spec(3, None))
    assert not sql_backend.admin.apply_switch("job", object_spec(2, "moving"))
    assert sql_backend.admin.status("job")[0].enabled
    assert sql_backend.admin.history("job") == []


def test_the_same_generation_may_be_applied_by_every_instance(sql_backend: SqlBackend) -> None:
    changed = [sql_backend.admin.apply_switch("job", object_spec(2, "moving")) for _ in range(3)]
    assert changed == [True, False, False]
    assert len(sql_backend.admin.history("job")) == 1


def test_a_removed_switch_leaves_no_row(sql_backend: SqlBackend) -> None:
    sql_backend.admin.apply_switch("job", object_spec(2, "moving"))
    sql_backend.admin.apply_switch("job", object_spec(1, "mine", uid="uid-2"))
    assert sql_backend.admin.remove_switch("job", "uid-1", "uid-1")
    assert not sql_backend.admin.remove_switch("job", "uid-1", "uid-1")
    assert not sql_backend.admin.status("job")[0].enabled
    assert sql_backend.admin.remove_switch("job", "uid-2", "uid-2")
    assert sql_backend.admin.status("job")[0].enabled
    assert sql_backend.admin.list_switches() == []


def test_removing_an_enabled_switch_is_no_event(sql_backend: SqlBackend) -> None:
    sql_backend.admin.apply_switch("job", object_spec(2, None))
    assert not sql_backend.admin.remove_switch("job", "uid-1", "uid-1")
    assert sql_backend.admin.list_switches() == []
    assert sql_backend.admin.history("job") == []


def test_a_stored_switch_names_cluster_namespace_and_name(sql_backend: SqlBackend) -> None:
    sql_backend.admin.disable("job", "hands off", "ann")
    sql_backend.admin.apply_switch("job", object_spec(2, "moving"))
    (found,) = sql_backend.admin.list_switches()
    assert (found.lock_name, found.source, found.enabled, found.generation) == ("job", "uid-1", False, 2)
    assert (found.cluster, found.namespace, found.name) == ("cluster", "ns", "job")


def test_the_status_of_some_locks_omits_the_others(sql_backend: SqlBackend) -> None:
    for name in ("a", "b", "c"):
        sql_backend.admin.disable(name, "x", "ann")
    assert sorted(sql_backend.admin.status_of(["a", "c", "unknown"])) == ["a", "c"]
    assert sql_backend.admin.status_of([]) == {}
