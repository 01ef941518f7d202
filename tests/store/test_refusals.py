"""What the errors of real databases mean: an outage, which is waited for, a refusal, or one failed statement."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from masterjob.errors import Refusal, StoreRefused, StoreUnavailable
from masterjob.store.connection.connection import StatementFailed
from masterjob.store.connection.outages import OutageLog
from masterjob.store.database import Database
from tests.conftest import Servers
from tests.servers import MariaDB, MySQL, PostgreSQL
from tests.servers.process import free_port
from tests.store.conftest import SERVERS, SqlBackend, open_session


class RecordingOutageLog(OutageLog):
    def __init__(self, database: str) -> None:
        super().__init__(database)
        self.failures: list[StoreUnavailable] = []

    def record_failure(self, error: StoreUnavailable) -> None:
        self.failures.append(error)


def refusal_of(url: str) -> Refusal:
    with pytest.raises(StoreRefused) as raised:
        Database(url).prepare()
    return raised.value.refusal


def url_with(server: PostgreSQL | MariaDB, user: str, password: str, database: str) -> str:
    url = make_url(server.url(database)).set(username=user, password=password)
    return url.render_as_string(hide_password=False)


@pytest.fixture
def postgresql_user(postgresql: PostgreSQL) -> str:
    """A user who may log in with the password "right", and has no rights."""
    name = f"user_of_{postgresql.create_database().rpartition('/')[2]}"
    postgresql.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'right'")
    return name


@pytest.fixture
def password_postgresql(postgresql: PostgreSQL) -> Iterator[PostgreSQL]:
    """A server of its own that asks for passwords."""
    server = PostgreSQL()
    server.start()
    server.execute("ALTER ROLE test PASSWORD 'secret'")
    rules = server.directory / "data" / "pg_hba.conf"
    rules.write_text(rules.read_text().replace("trust", "scram-sha-256"))
    server.execute("SELECT pg_reload_conf()")
    yield server
    server.stop()


@pytest.fixture
def mariadb_user(mariadb: MariaDB) -> str:
    name = f"user_of_{mariadb.create_database().rpartition('/')[2]}"
    mariadb.execute(f"CREATE USER {name} IDENTIFIED BY 'right'")
    return name


def test_a_password_of_mysql_needs_tls(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymysql._auth._have_cryptography", False)  # as it is if nobody has installed the package
    server = servers.require("mysql")
    assert isinstance(server, MySQL)
    server.execute("CREATE USER IF NOT EXISTS keeper IDENTIFIED BY 'right'")
    url = url_with(server, "keeper", "right", "nowhere")
    assert refusal_of(url + "?ssl-mode=DISABLED") is Refusal.OPTION
    assert refusal_of(url) is Refusal.RIGHTS  # so the password was right


def test_postgresql_has_no_such_user_or_database(postgresql: PostgreSQL) -> None:
    assert refusal_of(url_with(postgresql, "nobody", "x", "postgres")) is Refusal.LOGIN
    assert refusal_of(postgresql.url("nowhere")) is Refusal.NO_DATABASE


def test_postgresql_requires_the_right_password(password_postgresql: PostgreSQL) -> None:
    server = password_postgresql
    assert refusal_of(url_with(server, "test", "wrong", "postgres")) is Refusal.LOGIN
    assert refusal_of(url_with(server, "test", "", "postgres")) is Refusal.LOGIN
    Database(url_with(server, "test", "secret", "postgres")).prepare()


def test_postgresql_refuses_a_user_without_rights(postgresql: PostgreSQL, postgresql_user: str) -> None:
    database = postgresql.create_database()
    name = database.rpartition("/")[2]
    assert refusal_of(url_with(postgresql, postgresql_user, "right", name)) is Refusal.RIGHTS
    Database(database).prepare()
    store = Database(url_with(postgresql, postgresql_user, "right", name)).connect(10.0)
    with pytest.raises(StoreRefused, match="permission denied") as raised:
        store.list_sessions()
    assert raised.value.refusal is Refusal.RIGHTS


def test_postgresql_refuses_a_user_who_may_not_connect(postgresql: PostgreSQL, postgresql_user: str) -> None:
    url = postgresql.create_database()
    name = url.rpartition("/")[2]
    postgresql.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    assert refusal_of(url_with(postgresql, postgresql_user, "right", name)) is Refusal.RIGHTS


def test_postgresql_does_not_know_a_setting_of_the_url(postgresql: PostgreSQL) -> None:
    """What the driver does not know is refused before a connect."""
    url = f"{postgresql.create_database()}?options=-c%20no_such_setting%3D1"
    assert refusal_of(url) is Refusal.OPTION


def test_mariadb_has_no_such_user_or_database(mariadb: MariaDB, mariadb_user: str) -> None:
    assert refusal_of(url_with(mariadb, "nobody", "x", "mysql")) is Refusal.LOGIN
    assert refusal_of(url_with(mariadb, mariadb_user, "wrong", "mysql")) is Refusal.LOGIN
    assert refusal_of(mariadb.url("nowhere")) is Refusal.NO_DATABASE


def test_mariadb_refuses_a_user_without_rights(mariadb: MariaDB, mariadb_user: str) -> None:
    name = mariadb.create_database().rpartition("/")[2]
    url = url_with(mariadb, mariadb_user, "right", name)
    assert refusal_of(url) is Refusal.RIGHTS
    mariadb.execute(f"GRANT SELECT ON {name}.* TO {mariadb_user}")
    assert refusal_of(url) is Refusal.RIGHTS  # it may connect, and not create tables


def test_sqlite_has_no_such_folder_or_no_database_in_the_file(tmp_path: Path) -> None:
    assert refusal_of(f"sqlite:///{tmp_path}/no/such/folder/x") is Refusal.NO_DATABASE
    (tmp_path / "text").write_text("This is no database. " * 100)
    assert refusal_of(f"sqlite:///{tmp_path}/text") is Refusal.NO_DATABASE


def test_sqlite_may_not_write_to_its_file(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path}/x").prepare()
    with pytest.raises(StoreRefused) as raised:
        Database(f"sqlite:///file:{tmp_path}/x?mode=ro&uri=true").lock_admin().disable("a", "b", "c")
    assert raised.value.refusal is Refusal.RIGHTS


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_server_that_is_not_there_is_an_outage(scheme: str) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        Database(f"{scheme}://user:x@127.0.0.1:{free_port()}/db").prepare()
    assert raised.value.is_outage
    assert not isinstance(raised.value, StoreRefused)


def test_a_file_that_another_writer_holds_is_an_outage(sqlite_backend: SqlBackend) -> None:
    store = sqlite_backend.connect(timeout=0.1)
    session_id = open_session(sqlite_backend.connect())
    pending = sqlite_backend.begin_disable("job")
    with pytest.raises(StoreUnavailable, match="locked") as raised:
        store.renew(session_id, "one")
    assert raised.value.is_outage
    pending.rollback()
    pending.close()


def test_a_statement_that_is_wrong_or_waits_too_long_is_no_outage(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    with pytest.raises(StatementFailed):
        store._db.fetch_all("SELECT nothing FROM master_lock")
    with pytest.raises(StatementFailed):
        store._db.execute("INSERT INTO master_lock (lock_name) VALUES (NULL)")


@SERVERS
def test_a_row_that_another_transaction_locks_is_no_outage(sql_backend: SqlBackend) -> None:
    session_id = open_session(sql_backend.connect())
    store = sql_backend.connect(timeout=3.0)
    store.list_sessions()
    with sql_backend.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1 FROM master_session FOR UPDATE")
        with pytest.raises(StatementFailed):
            store.renew(session_id, "one")


def test_every_connection_of_a_database_reports_its_outages() -> None:
    outages = RecordingOutageLog("a database")
    database = Database(f"postgresql://user:x@127.0.0.1:{free_port()}/db", outages)
    for call in (database.prepare, database.connect(5.0).list_sessions, database.lock_admin().status):
        with pytest.raises(StoreUnavailable):
            call()
    assert len(outages.failures) == 3
