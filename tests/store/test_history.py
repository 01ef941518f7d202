"""Reading the history: how long a lock was without a master."""

from datetime import timedelta

from masterjob.election.values import HistoryEntry, TransitionKind
from tests.store.conftest import SqlBackend


def record_kinds(sql_backend: SqlBackend, *kinds: TransitionKind) -> None:
    store = sql_backend.connect()
    for number, kind in enumerate(kinds):
        store.append_history([HistoryEntry("job", number, kind, kind.value, "one")])


def vacancies_by_kind(sql_backend: SqlBackend) -> dict[str, timedelta | None]:
    return {event.kind: event.vacant_for for event in sql_backend.admin.history("job")}


def test_an_election_shows_how_long_the_lock_had_no_master(sql_backend: SqlBackend) -> None:
    record_kinds(
        sql_backend,
        TransitionKind.EVICTED,
        TransitionKind.DISABLED,
        TransitionKind.ENABLED,
        TransitionKind.ELECTED,
    )
    newest, *others = sql_backend.admin.history("job")
    assert newest.vacant_for == newest.at - others[-1].at
    assert all(event.vacant_for is None for event in others)


def test_the_first_election_of_a_lock_has_no_vacancy(sql_backend: SqlBackend) -> None:
    record_kinds(sql_backend, TransitionKind.ELECTED)
    assert vacancies_by_kind(sql_backend) == {"elected": None}


def test_a_vacancy_is_counted_even_if_its_start_is_beyond_the_limit(sql_backend: SqlBackend) -> None:
    record_kinds(sql_backend, TransitionKind.STEPPED_DOWN, TransitionKind.ELECTED)
    (newest,) = sql_backend.admin.history("job", limit=1)
    assert newest.vacant_for is not None
    assert newest.vacant_for >= timedelta(0)
