"""The files of an SQLite database: deleted or replaced while in use, and created by many processes at once."""

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from masterjob.errors import StoreUnavailable
from masterjob.store.database import Database
from tests.store.conftest import SqlBackend, open_session


@pytest.mark.parametrize("then", ["deleted", "replaced"])
def test_a_file_that_was_deleted_or_replaced_is_unavailable(
    then: str, sqlite_backend: SqlBackend, tmp_path: Path
) -> None:
    """With the old file an instance would be alone, and the others would elect a second master."""
    file = Path(str(make_url(sqlite_backend.url).database))
    store = sqlite_backend.connect()
    session_id = open_session(store)
    assert store.renew(session_id, "one") is not None
    if then == "replaced":
        (tmp_path / "another").write_bytes(b"")
        (tmp_path / "another").replace(file)
    else:
        file.unlink()
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        store.renew(session_id, "one")
    with pytest.raises(StoreUnavailable, match="no such table"):
        store.renew(session_id, "one")


@pytest.mark.parametrize("suffix", ["-shm", "-wal"])
def test_a_log_that_was_deleted_is_unavailable_until_all_connections_are_closed(
    suffix: str, sqlite_backend: SqlBackend
) -> None:
    """A new instance makes new ones, and so another group of instances, with its own master."""
    file = str(make_url(sqlite_backend.url).database)
    stores = [sqlite_backend.connect() for _ in range(2)]
    session_id = open_session(stores[0])
    stores[1].list_sessions()
    Path(file + suffix).unlink()
    for store in stores:
        with pytest.raises(StoreUnavailable, match="deleted or replaced"):
            store.renew(session_id, "one")
    for store in stores:
        store.list_sessions()


def test_a_deleted_index_is_not_used_again(sqlite_backend: SqlBackend) -> None:
    """The connections of a process share it, so a new connection would not get the one that others use."""
    file = str(make_url(sqlite_backend.url).database)
    idle, store = sqlite_backend.connect(), sqlite_backend.connect()
    idle.list_sessions()
    store.list_sessions()
    Path(f"{file}-shm").unlink()
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        store.list_sessions()
    with pytest.raises(StoreUnavailable, match="another connection of this process still uses it"):
        store.list_sessions()
    idle.close()
    store.list_sessions()


def test_the_change_to_wal_waits_for_another_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own timeout does not cover it. Many processes may create the tables at once."""
    file = tmp_path / "new.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE other (id INTEGER)")
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("masterjob.store.connection.sqlite_file.sleep", lambda _: other.execute("COMMIT"))
        Database(f"sqlite:///{file}").prepare()
    with closing(sqlite3.connect(file)) as fresh:
        assert fresh.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_change_to_wal_waits_no_longer_than_its_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "new.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE other (id INTEGER)")
        other.execute("BEGIN IMMEDIATE")
        clock = itertools.count(0.0, 1.0)
        monkeypatch.setattr("masterjob.store.connection.sqlite_file.monotonic", lambda: next(clock))
        with pytest.raises(StoreUnavailable, match="database is locked"):
            Database(f"sqlite:///{file}").connect(timeout=3.0).list_sessions()
