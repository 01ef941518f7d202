"""The switches of resources: a declaration takes the place of the last one, and an older one of nothing."""

from masterjob.election.views import Disabled
from masterjob.store.verbs.declarations import Declaration
from tests.store.conftest import SqlBackend

FILE = "file:default/job"


def of_file(reason: str | None) -> Declaration:
    return Declaration(FILE, FILE, reason)


def of_object(generation: int, reason: str | None, uid: str = "uid-1") -> Declaration:
    return Declaration(uid, "MasterJob ns/job", reason, generation, "cluster", "ns", "job")


def disabled(sql: SqlBackend) -> Disabled | None:
    found = sql.people.status("job")
    return found[0].disabled if found else None


def test_a_corrected_reason_leaves_since_when(sql: SqlBackend) -> None:
    assert sql.people.declare("job", of_file("first"))
    before = disabled(sql)
    assert sql.people.declare("job", of_file("second"))
    assert not sql.people.declare("job", of_file("second"))
    after = disabled(sql)
    assert before is not None
    assert after is not None
    assert (after.reason, after.since) == ("second", before.since)
    assert [event.reason for event in sql.people.history("job")] == ["second", "first"]


def test_a_file_that_enables_leaves_no_row(sql: SqlBackend) -> None:
    assert sql.people.declare("job", of_file("first"))
    assert sql.people.declare("job", of_file(None))
    assert sql.people.standing() == []
    assert sql.people.status("job")[0].enabled


def test_an_object_is_named_by_namespace_and_name(sql: SqlBackend) -> None:
    assert sql.people.declare("job", of_object(1, "moving"))
    found = disabled(sql)
    assert found is not None
    assert (found.source, found.resource, found.by) == ("uid-1", "ns/job", "MasterJob ns/job")


def test_an_older_generation_cannot_undo_a_newer_one(sql: SqlBackend) -> None:
    assert sql.people.declare("job", of_object(2, "moving"))
    assert sql.people.declare("job", of_object(3, None))
    assert not sql.people.declare("job", of_object(2, "moving"))
    assert sql.people.status("job")[0].enabled
    assert sql.people.declare("job", of_object(4, "again"))
    assert not sql.people.declare("job", of_object(3, None))
    assert not sql.people.status("job")[0].enabled


def test_a_newer_generation_that_was_always_enabled_stands_against_an_older_disable(sql: SqlBackend) -> None:
    assert not sql.people.declare("job", of_object(3, None))
    assert not sql.people.declare("job", of_object(2, "moving"))
    assert sql.people.status("job")[0].enabled
    assert sql.people.history("job") == []


def test_the_same_generation_may_be_told_by_every_instance(sql: SqlBackend) -> None:
    told = [sql.people.declare("job", of_object(2, "moving")) for _ in range(3)]
    assert told == [True, False, False]
    assert len(sql.people.history("job")) == 1


def test_what_is_retracted_leaves_nothing(sql: SqlBackend) -> None:
    sql.people.declare("job", of_object(2, "moving"))
    sql.people.declare("job", of_object(1, "mine", uid="uid-2"))
    assert sql.people.retract("job", "uid-1", "uid-1")
    assert not sql.people.retract("job", "uid-1", "uid-1")
    assert not sql.people.status("job")[0].enabled
    assert sql.people.retract("job", "uid-2", "uid-2")
    assert sql.people.status("job")[0].enabled
    assert sql.people.standing() == []


def test_to_retract_an_enabled_switch_is_no_event(sql: SqlBackend) -> None:
    sql.people.declare("job", of_object(2, None))
    assert not sql.people.retract("job", "uid-1", "uid-1")
    assert sql.people.standing() == []
    assert sql.people.history("job") == []


def test_what_stands_names_cluster_namespace_and_name(sql: SqlBackend) -> None:
    sql.people.disable("job", "hands off", "ann")
    sql.people.declare("job", of_object(2, "moving"))
    (found,) = sql.people.standing()
    assert (found.lock_name, found.source, found.enabled, found.generation) == ("job", "uid-1", False, 2)
    assert (found.cluster, found.namespace, found.name) == ("cluster", "ns", "job")


def test_the_status_of_some_locks_leaves_the_others_out(sql: SqlBackend) -> None:
    for name in ("a", "b", "c"):
        sql.people.disable(name, "x", "ann")
    assert sorted(sql.people.status_of(["a", "c", "unknown"])) == ["a", "c"]
    assert sql.people.status_of([]) == {}
