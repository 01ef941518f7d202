"""Time is the database's, at the statement. The servers of these tests are set to zones far from UTC."""

import time
from datetime import UTC, datetime, timedelta

from tests.store.conftest import SqlBackend, elected, opened


def test_the_clock_is_the_epoch_wherever_the_server_is(sql: SqlBackend) -> None:
    assert abs(sql.connect().census().clock_ms - time.time() * 1000) < 5_000


def test_a_heartbeat_is_written_at_its_statement(sql: SqlBackend) -> None:
    store = sql.connect()
    me = opened(store)
    sql.backdate(me, 50_000)
    store.renew(me, "one")
    (row,) = sql.sql("SELECT heartbeat_ms, heartbeat_at, started_at FROM master_session")
    assert abs(row.heartbeat_ms - time.time() * 1000) < 5_000
    for moment in (row.heartbeat_at, row.started_at):
        seen = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        assert abs(seen.replace(tzinfo=seen.tzinfo or UTC) - datetime.now(UTC)) < timedelta(seconds=5)


def test_terms_grow_even_when_the_database_was_rolled_back_to_an_older_term(sql: SqlBackend) -> None:
    store = sql.connect()
    me = opened(store)
    lost = elected(store, me)
    sql.sql("UPDATE master_lock SET holder = NULL, term = 6")  # what a promoted replica may still have
    (term,) = store.claim(me, ["job"])
    assert term.number > lost.number


def test_terms_grow_even_when_the_clock_of_the_database_was_set_back(sql: SqlBackend) -> None:
    store = sql.connect()
    me = opened(store)
    elected(store, me)
    sql.sql("UPDATE master_lock SET holder = NULL, term = 9000000000000")
    (term,) = store.claim(me, ["job"])
    assert term.number == 9_000_000_000_001
