"""Time is the database's, at the statement. The servers of these tests run in time zones far from UTC."""

import time
from datetime import UTC, datetime, timedelta

from tests.store.conftest import SqlBackend, claim_lock, open_session


def test_the_clock_is_the_epoch_in_any_time_zone(sql_backend: SqlBackend) -> None:
    assert abs(sql_backend.connect().list_sessions().clock_ms - time.time() * 1000) < 5_000


def test_a_heartbeat_is_written_at_its_statement(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    session_id = open_session(store)
    sql_backend.backdate(session_id, 50_000)
    store.renew(session_id, "one")
    (row,) = sql_backend.execute("SELECT heartbeat_ms, heartbeat_at, started_at FROM master_session")
    assert abs(row.heartbeat_ms - time.time() * 1000) < 5_000
    for value in (row.heartbeat_at, row.started_at):
        timestamp = datetime.fromisoformat(value) if isinstance(value, str) else value
        assert abs(timestamp.replace(tzinfo=timestamp.tzinfo or UTC) - datetime.now(UTC)) < timedelta(seconds=5)


def test_terms_grow_even_when_the_database_was_rolled_back_to_an_older_term(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    session_id = open_session(store)
    lost = claim_lock(store, session_id)
    sql_backend.execute("UPDATE master_lock SET holder = NULL, term = term - 1000")  # as a promoted replica may
    (term,) = store.claim(session_id, ["job"])
    assert term.number > lost.number


def test_terms_grow_even_when_the_clock_of_the_database_was_set_back(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    session_id = open_session(store)
    claim_lock(store, session_id)
    sql_backend.execute("UPDATE master_lock SET holder = NULL, term = 9000000000000")
    (term,) = store.claim(session_id, ["job"])
    assert term.number == 9_000_000_000_001
