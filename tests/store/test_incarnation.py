"""The name that a server gives to its history of commits, and the row in which it is kept."""

import logging

import pytest

from masterjob.store.database import Database
from tests.store.conftest import SERVERS, SqlBackend, claim_lock, open_session


def change_server(backend: SqlBackend) -> None:
    """Let the row say that another server had the database until now, as it does on a promoted replica."""
    backend.execute("UPDATE master_incarnation SET incarnation = 'another'")


def test_the_first_tables_begin_no_quarantine(empty_backend: SqlBackend) -> None:
    empty_backend.database.prepare()
    store = empty_backend.connect()
    claim_lock(store, open_session(store))
    incarnation = store.list_sessions().incarnation
    assert not incarnation.is_quarantined
    assert store.read_inventory("one").incarnation == incarnation


def test_tables_of_an_older_release_get_the_row_without_a_quarantine(empty_backend: SqlBackend) -> None:
    empty_backend.database.prepare()
    session_id = open_session(empty_backend.connect())
    empty_backend.execute("DROP TABLE master_incarnation")
    Database(empty_backend.url).prepare()
    store = empty_backend.connect()
    claim_lock(store, session_id)
    assert not store.list_sessions().incarnation.is_quarantined


def test_all_connections_to_a_server_see_the_same_name(sql_backend: SqlBackend) -> None:
    names = {sql_backend.connect().list_sessions().incarnation.name for _ in range(3)}
    assert len(names) == 1
    assert names != {""}


@SERVERS
def test_a_change_of_the_server_is_noted_by_a_renewal(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    session_id = open_session(store, lease_ms=9_000)
    before = store.list_sessions().incarnation
    store.ensure_locks(["job"])
    change_server(sql_backend)
    assert store.claim(session_id, ["job"]) == ()
    renewed = store.renew(session_id, "one")
    assert renewed is not None
    noted = renewed.incarnation
    assert (noted.name, noted.is_quarantined, noted.lease_ms) == (before.name, True, 9_000)
    assert noted.since_ms >= before.since_ms
    assert store.list_sessions().incarnation == noted


@SERVERS
def test_a_change_that_was_noted_is_not_noted_again(sql_backend: SqlBackend) -> None:
    store, other = sql_backend.connect(), sql_backend.connect()
    change_server(sql_backend)
    first = store.list_sessions().incarnation
    assert other.list_sessions().incarnation == first
    assert store.list_sessions().incarnation == first


@SERVERS
def test_a_row_that_is_missing_begins_a_quarantine(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    session_id = open_session(store)
    sql_backend.execute("DELETE FROM master_incarnation")
    store.ensure_locks(["job"])
    assert store.claim(session_id, ["job"]) == ()
    incarnation = store.list_sessions().incarnation
    assert incarnation.is_quarantined
    assert store.end_quarantine(incarnation)
    assert store.claim(session_id, ["job"])


def test_a_server_that_does_not_tell_its_name_obeys_what_others_have_noted(
    postgresql_backend: SqlBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """Some managed servers do not let every account call that function."""
    caplog.set_level(logging.WARNING, "masterjob")
    with_name = postgresql_backend.connect().list_sessions().incarnation
    postgresql_backend.execute(
        "DO $$ BEGIN CREATE ROLE app LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    for table in ("lock", "session", "incarnation", "forgotten", "control"):
        postgresql_backend.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON master_{table} TO app")
    postgresql_backend.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    store = Database(postgresql_backend.url.replace("test:secret", "app")).connect(10.0)
    try:
        session_id = open_session(store)
        claim_lock(store, session_id)
        assert store.list_sessions().incarnation == with_name
        assert "does not say which history of commits it is in" in caplog.text
        postgresql_backend.execute("UPDATE master_incarnation SET may_claim = FALSE")
        assert store.list_sessions().incarnation.is_quarantined
        assert store.end_quarantine(with_name)
    finally:
        store.close()
        postgresql_backend.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
