"""Many connections at once: the one statement decides, on every database."""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import text

from masterjob.election.errors import StoreUnavailable
from masterjob.election.values import Inventory, Term
from tests.store.conftest import SERVERS, SqlBackend, elected, opened
from tests.store.together import insist, insisting, together, warm


def test_of_many_claimers_exactly_one_wins(sql: SqlBackend) -> None:
    stores = [sql.connect() for _ in range(8)]
    warm(stores)
    sessions = [opened(store, f"instance-{number}") for number, store in enumerate(stores)]
    for round_ in range(10):
        name = f"job-{round_}"
        stores[0].ensure([name])
        claims = [insisting(store.claim, me, [name]) for store, me in zip(stores, sessions, strict=True)]
        assert sorted(map(len, together(claims))) == [0] * 7 + [1]
    assert len(stores[0].vacancies().names) == 0


def test_terms_grow_while_many_claim_and_release_one_lock(sql: SqlBackend) -> None:
    stores = [sql.connect() for _ in range(6)]
    sessions = [opened(store, f"instance-{number}") for number, store in enumerate(stores)]
    stores[0].ensure(["job"])
    numbers: list[int] = []

    def fight(index: int) -> None:
        store, me = stores[index], sessions[index]
        for _ in range(15):
            for term in insist(store.claim, me, ["job"]):
                numbers.append(term.number)  # while it is held: the list is in the order of the terms
                insist(store.release, [me], [term])

    together([partial(fight, index) for index in range(len(stores))])
    assert len(numbers) > 5
    assert numbers == sorted(set(numbers))


def test_two_hundred_locks_in_different_orders_go_to_one_instance_each(sql: SqlBackend) -> None:
    names = [f"job-{number}" for number in range(200)]
    stores = [sql.connect() for _ in range(6)]
    stores[0].ensure(names)
    sessions = [opened(store, f"instance-{number}") for number, store in enumerate(stores)]

    def grab(index: int) -> list[Term]:
        mine = random.Random(index).sample(names, len(names))
        parts = [mine[start : start + 40] for start in range(0, len(mine), 40)]
        return [term for part in parts for term in insist(stores[index].claim, sessions[index], part)]

    won = together([partial(grab, index) for index in range(len(stores))])
    counted = Counter(term.lock_name for terms in won for term in terms)
    assert set(counted.values()) == {1}
    late = insist(stores[0].claim, sessions[0], names)  # what all passed over while another had it locked
    assert {term.lock_name for term in late} | set(counted) == set(names)


def test_of_an_eviction_and_a_renewal_exactly_one_wins(sql: SqlBackend) -> None:
    master, candidate = sql.connect(), sql.connect()
    warm([master, candidate])
    for round_ in range(12):
        me = opened(master)
        term = elected(master, me, f"job-{round_}")
        race: list[Callable[[], object]] = [
            insisting(master.renew, me, "one"),
            insisting(candidate.evict, me, 1, if_stale=False),
        ]
        renewed, ended = together(race)
        assert (renewed is None) == (ended is not None)
        beats = [seen.beat for seen in master.census().sessions]
        assert beats in ([], [2])
        assert master.inventory("one") == Inventory.of([term] if beats else [])
        master.leave(me)


def test_many_evictors_remove_a_session_once(sql: SqlBackend) -> None:
    stores = [sql.connect() for _ in range(6)]
    warm(stores)
    for round_ in range(5):
        dead = opened(stores[0], "dead")
        elected(stores[0], dead, f"job-{round_}")
        evictions = [insisting(store.evict, dead, 1, if_stale=False) for store in stores]
        assert sum(ended is not None for ended in together(evictions)) == 1


def test_an_eviction_and_a_claim_of_the_same_session_leave_no_ghost(sql: SqlBackend) -> None:
    claimer, evictor = sql.connect(), sql.connect()
    warm([claimer, evictor])
    for round_ in range(12):
        me, name = opened(claimer), f"job-{round_}"
        claimer.ensure([name])
        race: list[Callable[[], object]] = [
            insisting(claimer.claim, me, [name]),
            insisting(evictor.evict, me, 1, if_stale=False),
        ]
        together(race)
        assert sql.sql("SELECT lock_name FROM master_lock WHERE holder IS NOT NULL") == []


def test_no_disable_is_lost_between_two_switches(sql: SqlBackend) -> None:
    people = sql.people
    for round_ in range(6):
        name = f"job-{round_}"
        people.disable(name, "first", "ann", source="a")
        together(
            [
                insisting(people.enable, name, "ann", source="a"),
                insisting(people.disable, name, "second", "bob", source="b"),
                insisting(people.disable, name, "third", "eve", source="c"),
                insisting(people.enable, name, "eve", source="d"),
            ]
        )
        assert not people.status(name)[0].enabled
        together([insisting(people.enable, name, "ann", source=source) for source in "bc"])
        assert people.status(name)[0].enabled


def test_many_first_users_of_a_lock_make_one_row(sql: SqlBackend) -> None:
    stores = [sql.connect() for _ in range(6)]
    warm(stores)
    names = [f"job-{number}" for number in range(50)]
    together([insisting(store.ensure, names) for store in stores])
    assert len(stores[0].vacancies().names) == 50


@pytest.mark.parametrize("commits", [True, False])
def test_a_claim_never_takes_what_a_disable_is_about_to_stop(sql: SqlBackend, commits: bool) -> None:
    store = sql.connect(timeout=1.0)
    me = opened(store)
    store.ensure(["job"])
    switching = sql.half_a_disable("job")
    try:
        taken = store.claim(me, ["job"])
    except StoreUnavailable:
        taken = ()
    assert taken == ()
    switching.commit() if commits else switching.rollback()
    switching.close()
    assert len(store.claim(me, ["job"])) == (0 if commits else 1)


@SERVERS  # on SQLite a frozen writer holds the file until it is killed; nothing in the database can help
def test_a_client_frozen_inside_a_switch_blocks_nobody_for_long(
    sql: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialect = type(sql.connect()._line.dialect)
    monkeypatch.setattr(dialect, "begin", tuple(part.replace("3", "1") for part in dialect.begin))
    store = sql.connect()
    me = opened(store)
    store.ensure(["job"])
    frozen = sql.connect()._line
    sql.after(frozen.close)

    def half(connection: object) -> None:
        for statement in dialect.begin:
            connection.exec_driver_sql(statement)  # type: ignore[attr-defined]
        connection.exec_driver_sql("SELECT 1 FROM master_lock WHERE lock_name = 'job' FOR UPDATE")  # type: ignore[attr-defined]

    frozen.run(half)
    assert sql.people.disable("job", "it can be done", "ann")
    assert store.claim(me, ["job"]) == ()


def test_a_lock_whose_row_somebody_holds_is_left_out_of_a_claim_and_holds_up_no_other(
    on_mariadb: SqlBackend,
) -> None:
    store = on_mariadb.connect(timeout=2.0)
    me = opened(store)
    store.ensure(["a", "b", "c"])
    with on_mariadb.engine.connect() as somebody:
        somebody.execute(text("SELECT 1 FROM master_lock WHERE lock_name = 'b' FOR UPDATE"))
        assert [term.lock_name for term in store.claim(me, ["a", "b", "c"])] == ["a", "c"]
    assert [term.lock_name for term in store.claim(me, ["b"])] == ["b"]
