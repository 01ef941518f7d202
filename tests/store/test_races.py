"""Many connections at once: the one statement decides, on every database."""

import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import Connection, text

from masterjob.election.values import HistoryEntry, Inventory, Term, TransitionKind
from masterjob.errors import StoreUnavailable
from masterjob.store.queries.switches import change_switch
from tests.store.conftest import SERVERS, SqlBackend, claim_lock, open_session
from tests.store.parallel import connect_all, retry, retrying, run_concurrently
from tests.timeouts import WAIT_TIMEOUT


def test_of_many_claimers_exactly_one_wins(sql_backend: SqlBackend) -> None:
    stores = [sql_backend.connect() for _ in range(8)]
    connect_all(stores)
    sessions = [open_session(store, f"instance-{number}") for number, store in enumerate(stores)]
    for round_ in range(10):
        name = f"job-{round_}"
        stores[0].ensure_locks([name])
        claims = [
            retrying(store.claim, session_id, [name]) for store, session_id in zip(stores, sessions, strict=True)
        ]
        assert sorted(map(len, run_concurrently(claims))) == [0] * 7 + [1]
    assert len(stores[0].list_vacancies().lock_names) == 0


def test_terms_grow_while_many_claim_and_release_one_lock(sql_backend: SqlBackend) -> None:
    stores = [sql_backend.connect() for _ in range(6)]
    sessions = [open_session(store, f"instance-{number}") for number, store in enumerate(stores)]
    stores[0].ensure_locks(["job"])
    numbers: list[int] = []

    def claim_and_release(index: int) -> None:
        store, session_id = stores[index], sessions[index]
        for _ in range(15):
            for term in retry(store.claim, session_id, ["job"]):
                numbers.append(term.number)  # while it is held: the list is in the order of the terms
                retry(store.release, [session_id], [term])

    run_concurrently([partial(claim_and_release, index) for index in range(len(stores))])
    assert len(numbers) > 5
    assert numbers == sorted(set(numbers))


def test_two_hundred_locks_in_different_orders_go_to_one_instance_each(sql_backend: SqlBackend) -> None:
    names = [f"job-{number}" for number in range(200)]
    stores = [sql_backend.connect() for _ in range(6)]
    stores[0].ensure_locks(names)
    sessions = [open_session(store, f"instance-{number}") for number, store in enumerate(stores)]

    def claim_all(index: int) -> list[Term]:
        shuffled = random.Random(index).sample(names, len(names))
        parts = [shuffled[start : start + 40] for start in range(0, len(shuffled), 40)]
        return [term for part in parts for term in retry(stores[index].claim, sessions[index], part)]

    claimed = run_concurrently([partial(claim_all, index) for index in range(len(stores))])
    counted = Counter(term.lock_name for terms in claimed for term in terms)
    assert set(counted.values()) == {1}
    claimed_late = retry(
        stores[0].claim, sessions[0], names
    )  # the locks that every claim skipped because another one had locked the row
    assert {term.lock_name for term in claimed_late} | set(counted) == set(names)


def test_of_an_eviction_and_a_renewal_exactly_one_wins(sql_backend: SqlBackend) -> None:
    master, candidate = sql_backend.connect(), sql_backend.connect()
    connect_all([master, candidate])
    for round_ in range(12):
        session_id = open_session(master)
        term = claim_lock(master, session_id, f"job-{round_}")
        race: list[Callable[[], object]] = [
            retrying(master.renew, session_id, "one"),
            retrying(candidate.evict, session_id, 1, if_stale=False),
        ]
        renewed, ended = run_concurrently(race)
        assert (renewed is None) == (ended is not None)
        beats = [seen.beat for seen in master.list_sessions().sessions]
        assert beats in ([], [2])
        assert master.read_inventory("one") == Inventory.of([term] if beats else [])
        master.close_session(session_id)


def test_many_evictors_remove_a_session_once(sql_backend: SqlBackend) -> None:
    stores = [sql_backend.connect() for _ in range(6)]
    connect_all(stores)
    for round_ in range(5):
        dead = open_session(stores[0], "dead")
        claim_lock(stores[0], dead, f"job-{round_}")
        evictions = [retrying(store.evict, dead, 1, if_stale=False) for store in stores]
        assert sum(ended is not None for ended in run_concurrently(evictions)) == 1


def test_after_an_eviction_and_a_claim_of_one_session_no_dead_holder_remains(sql_backend: SqlBackend) -> None:
    claimer, evictor = sql_backend.connect(), sql_backend.connect()
    connect_all([claimer, evictor])
    for round_ in range(12):
        session_id, name = open_session(claimer), f"job-{round_}"
        claimer.ensure_locks([name])
        race: list[Callable[[], object]] = [
            retrying(claimer.claim, session_id, [name]),
            retrying(evictor.evict, session_id, 1, if_stale=False),
        ]
        run_concurrently(race)
        assert sql_backend.execute("SELECT lock_name FROM master_lock WHERE holder IS NOT NULL") == []


def test_no_disable_is_lost_between_two_switches(sql_backend: SqlBackend) -> None:
    admin = sql_backend.admin
    for round_ in range(6):
        name = f"job-{round_}"
        admin.disable(name, "first", "ann", source="a")
        run_concurrently(
            [
                retrying(admin.enable, name, "ann", source="a"),
                retrying(admin.disable, name, "second", "bob", source="b"),
                retrying(admin.disable, name, "third", "eve", source="c"),
                retrying(admin.enable, name, "eve", source="d"),
            ]
        )
        assert not admin.status(name)[0].enabled
        run_concurrently([retrying(admin.enable, name, "ann", source=source) for source in "bc"])
        assert admin.status(name)[0].enabled


def test_many_first_users_of_a_lock_make_one_row(sql_backend: SqlBackend) -> None:
    stores = [sql_backend.connect() for _ in range(6)]
    connect_all(stores)
    names = [f"job-{number}" for number in range(50)]
    run_concurrently([retrying(store.ensure_locks, names) for store in stores])
    assert len(stores[0].list_vacancies().lock_names) == 50


@pytest.mark.parametrize("commits", [True, False])
def test_a_claim_never_takes_what_a_disable_is_about_to_stop(sql_backend: SqlBackend, commits: bool) -> None:
    store, waiting_store = sql_backend.connect(), sql_backend.connect(timeout=2.0)
    retry(waiting_store.list_sessions)
    session_id = open_session(store)
    store.ensure_locks(["job"])
    pending_disable = sql_backend.begin_disable("job")
    try:
        claimed = waiting_store.claim(session_id, ["job"])
    except StoreUnavailable:
        claimed = ()
    assert claimed == ()
    pending_disable.commit() if commits else pending_disable.rollback()
    pending_disable.close()
    assert len(store.claim(session_id, ["job"])) == (0 if commits else 1)


@SERVERS  # on SQLite a frozen writer holds the file until it is killed; nothing in the database can help
def test_a_client_frozen_inside_a_switch_blocks_no_other_for_long(
    sql_backend: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialect = type(sql_backend.connect()._db.dialect)
    monkeypatch.setattr(
        dialect, "begin_statements", tuple(part.replace("3", "1") for part in dialect.begin_statements)
    )
    store = sql_backend.connect()
    session_id = open_session(store)
    store.ensure_locks(["job"])
    frozen_db = sql_backend.connect()._db
    sql_backend.add_closer(frozen_db.close)
    inside, resumed = threading.Event(), threading.Event()

    def freeze(_connection: Connection) -> bool:
        inside.set()
        resumed.wait(WAIT_TIMEOUT)
        return False

    def switch() -> None:
        entry = HistoryEntry("job", None, TransitionKind.DISABLED, "frozen")
        with contextlib.suppress(StoreUnavailable):
            change_switch(frozen_db, entry, freeze)

    thread = threading.Thread(target=switch, daemon=True)
    thread.start()
    sql_backend.add_closer(partial(thread.join, WAIT_TIMEOUT))
    sql_backend.add_closer(resumed.set)
    assert inside.wait(WAIT_TIMEOUT)
    assert sql_backend.admin.disable("job", "it can be done", "ann")
    assert store.claim(session_id, ["job"]) == ()


def test_a_claim_skips_a_lock_whose_row_is_locked_and_does_not_wait(
    mariadb_backend: SqlBackend,
) -> None:
    store = mariadb_backend.connect()
    session_id = open_session(store)
    store.ensure_locks(["a", "b", "c"])
    with mariadb_backend.engine.connect() as row_locker:
        row_locker.execute(text("SELECT 1 FROM master_lock WHERE lock_name = 'b' FOR UPDATE"))
        assert [term.lock_name for term in store.claim(session_id, ["a", "b", "c"])] == ["a", "c"]
    assert [term.lock_name for term in store.claim(session_id, ["b"])] == ["b"]
