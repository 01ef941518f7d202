"""The URL: what is supported, what is rejected and with which message, and that no password is ever shown."""

import pytest

from masterjob.errors import SettingError
from masterjob.store.database import Database
from tests.servers import PostgreSQL, Server


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h/db",
        "postgres://u:p@h:5432/db",
        "postgresql+psycopg://u:p@h/db?sslmode=require",
        "mysql://u:p@h/db",
        "mariadb://u:p@h/db",
        "mysql+pymysql://u:p@h/db",
        "mariadb+pymysql://u:p@h/db",
        "sqlite:///relative.db",
        "sqlite:////absolute/file.db",
    ],
)
def test_a_supported_database_is_taken_without_connecting(url: str) -> None:
    assert ":p@" not in Database(url).redacted_url


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "is not valid"),
        ("no url s3cr3t", "is not valid"),
        ("postgresql://u:s3cr3t@h:port/db", "is not valid"),
        ("oracle://u:s3cr3t@h/db", "not supported: write it like postgresql://"),
        ("postgresql+asyncpg://u:s3cr3t@h/db", "not supported"),
        ("mysql+mysqldb://u:s3cr3t@h/db", "the driver mysqldb of the database URL is not installed"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "in memory"),
    ],
)
def test_anything_else_is_rejected_with_a_message(url: str, complaint: str) -> None:
    with pytest.raises(SettingError, match=complaint) as raised:
        Database(url)
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["postgresql://u:s3cr3t@h/db", "postgresql://h/db?user=u&password=s3cr3t&sslpassword=s3cr3t"]
)
def test_passwords_are_redacted(url: str) -> None:
    database = Database(url)
    assert "s3cr3t" not in database.redacted_url + repr(database)
    assert "***" in database.redacted_url or "password=xxx" in database.redacted_url


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
