"""Tables that are missing in a database that was used before are created again, and not too early."""

import threading
from collections.abc import Callable

import pytest

from masterjob.errors import StoreUnavailable, TablesMissing
from masterjob.store import schema
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.connection.outages import OutageLog
from masterjob.store.database import Database
from masterjob.store.recovery import TableRecovery
from tests.library.conftest import wait_until
from tests.store.conftest import SqlBackend, claim_lock, open_session

ALL_TABLES = (
    "master_forgotten",
    "master_job",
    "master_event",
    "master_control",
    "master_lock",
    "master_session",
    "masterjob_version",
)


def drop(backend: SqlBackend, *tables: str) -> None:
    for table in tables:
        backend.execute(f"DROP TABLE {table}")


def answers(call: Callable[[], object]) -> bool:
    try:
        call()
    except StoreUnavailable:
        return False
    return True


@pytest.mark.parametrize("tables", [ALL_TABLES, ALL_TABLES[:-1], ("master_event",)])
def test_a_running_instance_creates_the_tables_again(tables: tuple[str, ...], empty_backend: SqlBackend) -> None:
    empty_backend.database.prepare()
    store = empty_backend.connect()
    claim_lock(store, open_session(store, lease_ms=200))
    drop(empty_backend, *tables)
    with pytest.raises(TablesMissing, match="the tables are missing"):
        empty_backend.admin.history("job")
    wait_until(lambda: answers(lambda: empty_backend.admin.history("job")))
    store = empty_backend.connect()
    store.ensure_locks(["job"])
    assert empty_backend.admin.status("job") != []


def test_readiness_says_that_the_tables_are_missing_until_they_are_there(
    sqlite_backend: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_create = threading.Event()
    monkeypatch.setattr(TableRecovery, "delay", 0.0)
    upgrade = schema.upgrade

    def wait_and_upgrade(db: BoundedConnection) -> None:
        may_create.wait()
        upgrade(db)

    outages = OutageLog("a database")
    database = Database(sqlite_backend.url, outages)
    admin = database.lock_admin()
    assert admin.status() == []
    drop(sqlite_backend, *ALL_TABLES)
    monkeypatch.setattr(schema, "upgrade", wait_and_upgrade)
    with pytest.raises(TablesMissing):
        admin.status()
    assert str(outages.refusal()).startswith("the tables are missing in the database")
    may_create.set()
    wait_until(lambda: answers(admin.status))
    assert outages.refusal() is None


def test_it_waits_for_the_longest_lease_that_was_seen(sqlite_backend: SqlBackend) -> None:
    recovered = TableRecovery(lambda: None)
    assert recovered.delay == 24.0  # the default, as long as none was seen
    for lease in (5.0, 60.0, 10.0):
        recovered.note_lease(lease)
    assert recovered.delay == 60.0
