"""The tables: created once, by the first instance; for all others the check is cheap."""

import logging
import multiprocessing
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from masterjob.errors import StoreUnavailable
from masterjob.store import schema
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.database import Database
from masterjob.store.schema import KNOWN_VERSIONS
from tests.servers.process import free_port
from tests.store.conftest import SqlBackend, open_session
from tests.store.parallel import run_concurrently


def prepare(url: str) -> str:
    Database(url).prepare()
    return "done"


def test_many_instances_in_one_process_migrate_at_once(empty_backend: SqlBackend) -> None:
    assert run_concurrently([lambda: prepare(empty_backend.url)] * 6) == ["done"] * 6
    assert empty_backend.connect().list_sessions().sessions == ()


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_many_processes_migrate_at_once(empty_backend: SqlBackend, processes: ProcessPoolExecutor) -> None:
    assert list(processes.map(prepare, [empty_backend.url] * 8)) == ["done"] * 8
    assert empty_backend.connect().list_sessions().sessions == ()
    assert empty_backend.execute("SELECT version_num FROM masterjob_version") == [("0001",)]


def test_a_database_that_is_up_to_date_is_only_read(postgresql_backend: SqlBackend, postgresql: object) -> None:
    postgresql_backend.execute(
        "DO $$ BEGIN CREATE ROLE reader LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    postgresql_backend.execute("GRANT SELECT ON masterjob_version TO reader")
    with postgresql_backend.engine.begin() as busy:
        busy.exec_driver_sql("SELECT pg_advisory_xact_lock(120338136622450)")
        Database(postgresql_backend.url.replace("test:secret", "reader")).prepare()


def test_the_newest_version_is_that_of_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "masterjob.store:migrations")
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == KNOWN_VERSIONS


def test_alembic_is_not_loaded_if_there_is_nothing_to_migrate(sqlite_backend: SqlBackend) -> None:
    url = sqlite_backend.url
    code = f"import sys, masterjob; masterjob.status(database={url!r}); sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_newer_schema_is_refused(empty_backend: SqlBackend) -> None:
    prepare(empty_backend.url)
    empty_backend.execute("UPDATE masterjob_version SET version_num = '9999'")
    with pytest.raises(StoreUnavailable, match="version 9999, which this masterjob does not know"):
        prepare(empty_backend.url)


def test_an_interrupted_migration_is_resumed(empty_backend: SqlBackend) -> None:
    """MariaDB commits each table by itself, so a migration can be interrupted; elsewhere this does no harm."""
    prepare(empty_backend.url)
    empty_backend.execute("DROP TABLE master_event")
    empty_backend.execute("DELETE FROM masterjob_version")
    prepare(empty_backend.url)
    assert empty_backend.admin.history("job") == []


def test_preparing_does_not_change_the_logging(empty_backend: SqlBackend) -> None:
    before = (logging.root.level, list(logging.root.handlers), logging.getLogger("alembic").level)
    empty_backend.database.prepare()
    assert (logging.root.level, list(logging.root.handlers), logging.getLogger("alembic").level) == before
    assert not logging.getLogger("masterjob").disabled


def test_a_database_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        Database(f"postgresql://u:p@127.0.0.1:{free_port()}/db").prepare()
    with pytest.raises(StoreUnavailable):
        Database("sqlite:////no/such/directory/file.db").prepare()


def test_the_first_call_of_an_admin_creates_the_tables(empty_backend: SqlBackend) -> None:
    assert run_concurrently([empty_backend.admin.status] * 6) == [[]] * 6


def test_a_database_object_prepares_once_and_again_only_after_an_error(
    sqlite_backend: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, outcomes = schema.upgrade, [StoreUnavailable("not yet"), None]

    def fail_first(db: BoundedConnection) -> None:
        if error := outcomes.pop(0):
            raise error
        original(db)

    monkeypatch.setattr(schema, "upgrade", fail_first)
    database = Database(sqlite_backend.url)
    admin = database.lock_admin()
    with pytest.raises(StoreUnavailable, match="not yet"):
        admin.status()
    assert admin.status() == []
    database.prepare()
    assert outcomes == []


def test_a_call_does_not_wait_long_for_a_thread_that_waits_for_a_silent_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = Database(f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/db")

        def prepare_without_success() -> None:
            with pytest.raises(StoreUnavailable):
                database.prepare()

        elector = threading.Thread(target=prepare_without_success)
        elector.start()
        with silent.accept()[0]:
            monkeypatch.setattr("masterjob.store.database._ADMIN_TIMEOUT", 0.1)
            with pytest.raises(StoreUnavailable, match="waiting for the database"):
                database.lock_admin().status()
            assert elector.is_alive()
        elector.join()


FORKS_DURING_UPGRADE = """
import os, sys, threading
from masterjob.store import database, schema

database._ADMIN_TIMEOUT = 0.1
upgrade, started, go_on = schema.upgrade, threading.Event(), threading.Event()

def slow_upgrade(db):
    started.set()
    go_on.wait()

db = database.Database(sys.argv[1])
schema.upgrade = slow_upgrade
thread = threading.Thread(target=db.prepare)
thread.start()
started.wait()
if (child := os.fork()) == 0:
    schema.upgrade = upgrade
    os._exit(0 if db.lock_admin().status() == [] else 1)
go_on.set()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_that_was_forked_while_the_tables_were_created_is_not_locked_out(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", FORKS_DURING_UPGRADE, f"sqlite:///{tmp_path / 'masterjob.db'}"]
    assert subprocess.run(arguments, timeout=60, check=False).returncode == 0


def test_a_store_without_tables_is_unavailable(empty_backend: SqlBackend) -> None:
    with pytest.raises(StoreUnavailable):
        open_session(empty_backend.connect())
