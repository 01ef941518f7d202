"""The URL: what is supported, what is rejected and with which message, and that no password is ever shown."""

import psycopg
import pymysql
import pytest

from masterjob.errors import Refusal, SettingError, StoreRefused, StoreUnavailable
from masterjob.store.connection.target import parse_target
from masterjob.store.database import Database
from tests.servers import PostgreSQL, Server
from tests.store.urls import ACCEPTED, REFUSED, SECRET


@pytest.mark.parametrize("url", ACCEPTED)
def test_a_supported_database_is_taken_without_connecting(url: str) -> None:
    assert tuple(map(str, parse_target(url).endpoints)) == ACCEPTED[url]
    database = Database(url)
    assert SECRET not in database.redacted_url + repr(database) + repr(parse_target(url))


@pytest.mark.parametrize("url", REFUSED)
def test_anything_else_is_rejected_with_a_message(url: str) -> None:
    with pytest.raises(SettingError, match=REFUSED[url]) as raised:
        Database(url)
    assert "\n" not in str(raised.value)
    assert not any(piece in str(raised.value) for piece in (SECRET, "s3@", "cr3t"))
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_there_are_enough_urls() -> None:
    assert len(ACCEPTED) + len(REFUSED) >= 60


def driver_arguments(options: str, scheme: str = "mysql") -> dict[str, object]:
    return dict(parse_target(f"{scheme}://u:p@h/db?{options}").arguments)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ("charset=utf8mb4", {}),
        ("ssl-mode=DISABLED", {"ssl_disabled": True}),
        ("ssl_disabled=true", {"ssl_disabled": True}),
        ("ssl_disabled=false", {}),
        ("sslmode=prefer", {}),
        ("ssl-mode=REQUIRED", {"ssl": {"verify_mode": "none"}}),
        ("ssl=true", {"ssl": {"verify_mode": "none"}}),
        ("useSSL=true&requireSSL=true", {"ssl": {"verify_mode": "none"}}),
        ("tls=skip-verify", {"ssl": {"verify_mode": "none"}}),
        ("ssl-ca=a.pem", {"ssl": {"ca": "a.pem", "check_hostname": True, "verify_mode": "required"}}),
        (
            "ssl_ca=a.pem&ssl_check_hostname=false",
            {"ssl": {"ca": "a.pem", "check_hostname": False, "verify_mode": "required"}},
        ),
        (
            "sslmode=require&ssl-ca=a.pem",
            {"ssl": {"ca": "a.pem", "check_hostname": False, "verify_mode": "required"}},
        ),
        (
            "useSSL=true&verifyServerCertificate=true&sslCA=a.pem",
            {"ssl": {"ca": "a.pem", "check_hostname": False, "verify_mode": "required"}},
        ),
        (
            "ssl-mode=VERIFY_CA&ssl-ca=a.pem&ssl-cert=c.pem&ssl-key=k.pem&ssl_key_password=x",
            {
                "ssl": {
                    "ca": "a.pem",
                    "cert": "c.pem",
                    "key": "k.pem",
                    "password": "x",
                    "check_hostname": False,
                    "verify_mode": "required",
                }
            },
        ),
    ],
)
def test_the_words_for_tls_of_other_clients_mean_the_same_here(options: str, arguments: dict[str, object]) -> None:
    assert driver_arguments(options) == arguments


@pytest.mark.parametrize("options", ["sslmode=verify-full", "ssl-mode=VERIFY_IDENTITY", "tls=true"])
def test_a_verified_host_name_needs_no_file_in_the_url(options: str) -> None:
    """PyMySQL skips the host name if it is given no CA."""
    tls = driver_arguments(options)["ssl"]
    assert isinstance(tls, dict)
    assert tls["check_hostname"] is True
    assert "ca" in tls or "capath" in tls


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ("ssl-mode=VERIFY_IDENTITY", {"sslmode": "verify-full"}),
        ("ssl=false", {"sslmode": "disable"}),
        ("schema=App", {"options": '-csearch_path="App"'}),
        ("currentSchema=app&options=-cjit%3Doff", {"options": '-cjit=off -csearch_path="app"'}),
        ("connect_timeout=10&target_session_attrs=read-write", {"connect_timeout": "10"}),
    ],
)
def test_options_of_other_clients_become_those_of_libpq(options: str, query: dict[str, str]) -> None:
    assert dict(parse_target(f"postgresql://u:p@h/db?{options}").url.query) == query


def test_hosts_of_the_environment_are_those_of_a_url_without_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGSERVICE", "PGHOSTADDR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGHOST", "h1,h2")
    monkeypatch.setenv("PGPORT", "7,8")
    assert list(map(str, parse_target("postgresql:///db").endpoints)) == ["h1:7", "h2:8"]
    assert list(map(str, parse_target("postgresql://h/db").endpoints)) == ["h"]
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")  # libpq then knows best what belongs together
    assert parse_target("postgresql:///db").endpoints == ()


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("s3cr3t", "no such user u with s3cr3t"),
        ("a%40s3cr3t", "failed to resolve host 's3cr3t@h'"),
        ("a%40s3cr3t", "failed to resolve host 'a%40s3cr3t'"),
        ("s3cr3t%20x", "password s3cr3t+x"),
        ("p", "the password p of u is wrong"),
    ],
)
@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_no_piece_of_a_password_is_left_in_a_message_of_a_driver(
    scheme: str, password: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise psycopg.OperationalError(said) if scheme == "postgresql" else pymysql.OperationalError(1045, said)

    monkeypatch.setattr(psycopg if scheme == "postgresql" else pymysql.Connection, "connect", fail)
    store = Database(f"{scheme}://u:{password}@127.0.0.1/db").connect(2)
    with pytest.raises(StoreUnavailable, match=r"\*\*\*") as raised:
        store.list_sessions()
    shown = str(raised.value) + repr(raised.value.__cause__)
    assert SECRET not in shown
    assert " p " not in shown
    assert raised.value.__suppress_context__  # a traceback must not show the driver's message either


def test_a_database_without_an_encoding_still_returns_text(postgresql: Server) -> None:
    assert isinstance(postgresql, PostgreSQL)
    name = postgresql.new_database_name()
    postgresql.execute(
        f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    database = Database(postgresql.url(name))
    database.prepare()
    admin = database.lock_admin()
    admin.disable("Müller", "Wartung für eine Stunde", "Jürgen")
    (found,) = admin.status()
    assert found.disabled is not None
    assert (found.lock_name, found.disabled.reason) == ("Müller", "Wartung für eine Stunde")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_of_another_encoding_answers_text(encoding: str, postgresql: PostgreSQL) -> None:
    name = f"encoded_{encoding.lower()}"
    postgresql.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    admin = Database(postgresql.url(name)).lock_admin()
    assert admin.disable("größe", "für später", "Jörg")
    (lock,) = admin.status("größe")
    assert lock.disabled is not None
    assert (lock.lock_name, lock.disabled.reason, lock.disabled.actor) == ("größe", "für später", "Jörg")
    assert [event.reason for event in admin.history("größe")] == ["für später"]


def test_a_character_that_the_encoding_of_the_database_lacks_is_refused_in_a_sentence(
    postgresql: PostgreSQL,
) -> None:
    postgresql.execute("CREATE DATABASE latin1_lacks ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    admin = Database(postgresql.url("latin1_lacks")).lock_admin()
    with pytest.raises(StoreUnavailable, match='has no equivalent in encoding "LATIN1"'):
        admin.disable("job", "€", "ann")


def test_an_encoding_without_a_conversion_is_a_refusal(postgresql: PostgreSQL) -> None:
    postgresql.execute("CREATE DATABASE mule ENCODING 'MULE_INTERNAL' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreRefused) as raised:
        Database(postgresql.url("mule")).prepare()
    assert raised.value.refusal is Refusal.ENCODING
