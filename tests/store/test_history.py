"""The history as it is read: how long a lock was without a master."""

from datetime import timedelta

from masterjob.election.values import Entry, Kind
from tests.store.conftest import SqlBackend


def write(sql: SqlBackend, *kinds: Kind) -> None:
    store = sql.connect()
    for number, kind in enumerate(kinds):
        store.record([Entry("job", number, kind, kind.value, "one")])


def vacancies(sql: SqlBackend) -> dict[str, timedelta | None]:
    return {event.kind: event.vacant_for for event in sql.people.history("job")}


def test_an_election_says_how_long_the_lock_had_no_master(sql: SqlBackend) -> None:
    write(sql, Kind.EVICTED, Kind.DISABLED, Kind.ENABLED, Kind.ELECTED)
    newest, *others = sql.people.history("job")
    assert newest.vacant_for == newest.at - others[-1].at
    assert all(event.vacant_for is None for event in others)


def test_the_first_election_of_all_has_nothing_to_count_from(sql: SqlBackend) -> None:
    write(sql, Kind.ELECTED)
    assert vacancies(sql) == {"elected": None}


def test_it_is_counted_also_where_the_end_itself_is_not_asked_for(sql: SqlBackend) -> None:
    write(sql, Kind.STEPPED_DOWN, Kind.ELECTED)
    (newest,) = sql.people.history("job", limit=1)
    assert newest.vacant_for is not None
    assert newest.vacant_for >= timedelta(0)
