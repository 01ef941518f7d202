"""A database for the tests of one run, on each server: every test uses a lock of its own."""

import itertools

import pytest

from masterjob.store.database import Database
from tests.conftest import Servers

_urls: dict[str, str] = {}
_numbers = itertools.count(1)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb", "mysql"])
def url(request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a database with tables. Creating them takes longer than most tests."""
    name = request.param
    server = None if name == "sqlite" else servers.require(name)
    if name not in _urls:
        file = tmp_path_factory.mktemp("life") / "masterjob.sqlite3"
        _urls[name] = f"sqlite:///{file}" if server is None else server.create_database()
        Database(_urls[name]).prepare()
    return _urls[name]


@pytest.fixture
def lock_name() -> str:
    return f"JOB-{next(_numbers)}"
