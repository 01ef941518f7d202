"""The stage of each scenario; the PostgreSQL that is ill-treated is shared with no other test."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import masterjob
from tests.faults.server import FaultyPostgreSQL
from tests.faults.stage import Stage, faketime_library
from tests.servers import Unavailable


@pytest.fixture(scope="package")
def faulty_or_why() -> Iterator[FaultyPostgreSQL | str]:
    try:
        server = FaultyPostgreSQL()
        server.start()
    except Unavailable as error:
        yield str(error)
        return
    yield server
    server.stop()


@pytest.fixture
def faulty(faulty_or_why: FaultyPostgreSQL | str) -> FaultyPostgreSQL:
    if isinstance(faulty_or_why, FaultyPostgreSQL):
        return faulty_or_why
    why = f"PostgreSQL cannot be had here: {faulty_or_why}"
    if os.environ.get("MASTERJOB_REQUIRE_DATABASES") == "1":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


@pytest.fixture
def stage(faulty: FaultyPostgreSQL, tmp_path: Path) -> Iterator[Stage]:
    """Workers on PostgreSQL, each behind a proxy."""
    stage = Stage(faulty.with_effects(), faulty, tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Stage]:
    """Workers on one SQLite file."""
    path = tmp_path / "masterjob.sqlite3"
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("CREATE TABLE effect (id INTEGER PRIMARY KEY AUTOINCREMENT, term INTEGER NOT NULL)")
    file.close()
    masterjob.status(database=f"sqlite:///{path}")  # makes the election's tables
    stage = Stage(f"sqlite:///{path}", None, tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def _faketime() -> None:
    if faketime_library() is None:
        why = "libfaketime is not installed (Debian: apt-get install faketime), so no clock can be set wrong"
        if os.environ.get("MASTERJOB_REQUIRE_FAULTS") == "1":
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
