"""Fixtures of the scenarios; their PostgreSQL is not shared with other tests."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import masterjob
from tests.faults.fixtures import SCENARIO_GUARANTEES, FaultHarness, faketime_library
from tests.faults.server import FaultyPostgreSQL
from tests.servers import Unavailable


@pytest.fixture(scope="package")
def faulty_server_or_reason() -> Iterator[FaultyPostgreSQL | str]:
    try:
        server = FaultyPostgreSQL()
        server.start()
    except Unavailable as error:
        yield str(error)
        return
    yield server
    server.stop()


@pytest.fixture
def faulty_server(faulty_server_or_reason: FaultyPostgreSQL | str) -> FaultyPostgreSQL:
    if isinstance(faulty_server_or_reason, FaultyPostgreSQL):
        return faulty_server_or_reason
    reason = f"PostgreSQL is not available: {faulty_server_or_reason}"
    if os.environ.get("MASTERJOB_REQUIRE_DATABASES") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def harness(faulty_server: FaultyPostgreSQL, tmp_path: Path) -> Iterator[FaultHarness]:
    """Workers on PostgreSQL, each behind a proxy."""
    harness = FaultHarness(faulty_server.create_effect_database(), faulty_server, tmp_path, SCENARIO_GUARANTEES)
    yield harness
    harness.close()


@pytest.fixture
def sqlite_harness(tmp_path: Path) -> Iterator[FaultHarness]:
    """Workers on one SQLite file."""
    path = tmp_path / "masterjob.sqlite3"
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("CREATE TABLE effect (id INTEGER PRIMARY KEY AUTOINCREMENT, term INTEGER NOT NULL)")
    file.close()
    masterjob.status(database=f"sqlite:///{path}")  # creates the tables of the election
    harness = FaultHarness(f"sqlite:///{path}", None, tmp_path, SCENARIO_GUARANTEES)
    yield harness
    harness.close()


@pytest.fixture
def _faketime() -> None:
    if faketime_library() is None:
        reason = "libfaketime is not installed (Debian: apt-get install faketime), so no clock can be shifted"
        if os.environ.get("MASTERJOB_REQUIRE_FAULTS") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
