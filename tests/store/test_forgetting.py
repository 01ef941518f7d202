"""Locks that are not used any more are forgotten, and their terms never decrease."""

from datetime import timedelta

import pytest

from masterjob.election.values import HistoryEntry, Term, TransitionKind
from masterjob.errors import TermLost
from masterjob.job_status import RunRecord
from masterjob.store.queries.declared_switches import SwitchSpec
from tests.store.conftest import SqlBackend, claim_lock, open_session
from tests.store.parallel import connect_all, retrying, run_concurrently
from tests.store.test_job_status import running

HOUR_MS = 3_600_000


def make_unused(backend: SqlBackend, name: str = "job") -> Term:
    """Elect a master of the lock years ago, which has released it and closed its session since."""
    store = backend.connect()
    session_id = open_session(store, f"former master of {name}")
    term = claim_lock(store, session_id, name)
    store.append_history([HistoryEntry(name, term.number, TransitionKind.ELECTED, "x", "one")])
    store.release([session_id], [term])
    store.close_session(session_id)
    past = "2020-01-01T00:00:00.000000"
    backend.execute("UPDATE master_event SET at = :past WHERE lock_name = :name", past=past, name=name)
    backend.execute("UPDATE master_lock SET acquired_at = :past WHERE lock_name = :name", past=past, name=name)
    return term


def test_a_lock_goes_with_its_history_and_the_status_of_its_job(sql_backend: SqlBackend) -> None:
    term = make_unused(sql_backend)
    sql_backend.database.write_runs([RunRecord("job", "report", "one", term.number, running())])
    make_unused(sql_backend, "other")
    assert sql_backend.admin.forget("job") is None
    assert [lock.lock_name for lock in sql_backend.admin.status()] == ["other"]
    assert sql_backend.admin.history("job") == []
    assert sql_backend.execute("SELECT * FROM master_job") == []
    assert len(sql_backend.admin.history("other")) == 1


def test_a_lock_that_is_held_is_kept(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    session_id = open_session(store, "web-1")
    claim_lock(store, session_id)
    assert sql_backend.admin.forget("job") == "web-1 is its master"
    sql_backend.backdate(session_id, HOUR_MS)
    kept = sql_backend.admin.forget("job")
    assert kept is not None
    assert kept.startswith("web-1, its last master, has been silent for 1h")
    assert len(sql_backend.admin.status("job")) == 1


def test_a_lock_with_a_switch_is_kept(sql_backend: SqlBackend) -> None:
    make_unused(sql_backend)
    sql_backend.admin.disable("job", "moving", "ann")
    assert sql_backend.admin.forget("job") == "it is disabled by ann (api)"
    sql_backend.admin.enable("job", "ann")
    spec = SwitchSpec("uid-1", "MasterJob shop/job", None, 3, "cluster", "shop", "job")
    sql_backend.admin.apply_switch("job", spec)
    assert sql_backend.admin.forget("job") == "MasterJob shop/job declares it"
    assert len(sql_backend.admin.status("job")) == 1


def test_a_lock_that_a_live_instance_may_wait_for_is_kept(sql_backend: SqlBackend) -> None:
    make_unused(sql_backend)
    sql_backend.admin.disable("job", "moving", "ann")
    sql_backend.admin.enable("job", "ann")
    session_id = open_session(sql_backend.connect(), "web-1")
    kept = sql_backend.admin.forget("job")
    assert kept == "it was used in the last 6m, and an instance that is alive may wait for it"
    sql_backend.backdate(session_id, HOUR_MS)  # it is dead, so nothing waits
    assert sql_backend.admin.forget("job") is None


def test_only_locks_that_were_unused_for_long_enough_are_listed(sql_backend: SqlBackend) -> None:
    for name in ("old", "older", "disabled"):
        make_unused(sql_backend, name)
    claim_lock(sql_backend.connect(), open_session(sql_backend.connect()), "held")
    sql_backend.admin.disable("disabled", "x", "ann")
    sql_backend.connect().append_history([HistoryEntry("older", None, TransitionKind.ENABLED, "now")])
    assert sql_backend.admin.list_unused(timedelta(days=30)) == ["old"]
    assert sql_backend.admin.forget("older", timedelta(days=30)) is not None
    assert sql_backend.admin.forget("old", timedelta(days=30)) is None


def test_a_lock_of_the_same_name_has_higher_terms_although_the_clock_was_set_back(sql_backend: SqlBackend) -> None:
    make_unused(sql_backend)
    in_the_future = 4_000_000_000_000
    sql_backend.execute("UPDATE master_lock SET term = :term", term=in_the_future)
    assert sql_backend.admin.forget("job") is None
    store = sql_backend.connect()
    assert claim_lock(store, open_session(store)).number == in_the_future + 1


def test_a_frozen_master_cannot_commit_after_its_lock_was_forgotten(sql_backend: SqlBackend) -> None:
    term = make_unused(sql_backend)
    assert sql_backend.admin.forget("job") is None
    _assert_is_fenced_off(sql_backend, term)
    store = sql_backend.connect()
    claim_lock(store, open_session(store))
    _assert_is_fenced_off(sql_backend, term)


def _assert_is_fenced_off(sql_backend: SqlBackend, term: Term) -> None:
    with sql_backend.engine.connect() as connection:
        connection.exec_driver_sql("DELETE FROM master_event WHERE lock_name = 'none'")  # begins a transaction
        with pytest.raises(TermLost):
            sql_backend.database.fence(connection, term)


def test_a_claim_at_the_same_moment_either_keeps_the_lock_or_finds_none(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    for number in range(10):
        name = f"job-{number}"
        term = make_unused(sql_backend, name)
        session_id = open_session(store)
        connect_all([store])
        forgotten, claimed = run_concurrently(
            [retrying(sql_backend.admin.forget, name), retrying(store.claim, session_id, [name])]
        )
        if forgotten is None:
            assert claimed == ()
            assert sql_backend.admin.status(name) == []
        else:
            assert sql_backend.admin.status(name)[0].term > term.number
        store.close_session(session_id)


def test_a_lock_without_a_row_is_forgotten_already(sql_backend: SqlBackend) -> None:
    assert sql_backend.admin.forget("unused") is None


def test_the_candidates_learn_how_many_locks_were_forgotten(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    make_unused(sql_backend)
    assert store.list_vacancies().forgotten_count == 0
    sql_backend.admin.forget("job")
    assert store.list_vacancies().forgotten_count == 1
