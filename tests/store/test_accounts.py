"""Accounts: a password that is rotated needs no restart, and the grants of the documents are enough."""

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from masterjob.config.location import DatabaseLocation
from masterjob.election.values import HistoryEntry, Identity, NewSession, TransitionKind
from masterjob.errors import StoreUnavailable
from masterjob.job_status import RunRecord
from masterjob.store.database import Database, SqlStore
from masterjob.store.queries.declared_switches import SwitchSpec
from tests.conftest import Servers
from tests.store.accounts import Account
from tests.store.parallel import retry
from tests.store.test_job_status import running
from tests.timeouts import WAIT_TIMEOUT

_numbers = itertools.count(1)

DOCUMENT = Path(__file__).parents[2] / "docs" / "production.md"


@pytest.fixture(params=["postgresql", "mariadb", "mysql"])
def account(request: pytest.FixtureRequest, servers: Servers) -> Account:
    """An account without any rights, on a database with tables."""
    server = servers.require(request.param)
    url = server.create_database()
    Database(url).prepare()
    return Account(server, url)


def grants(account: Account) -> list[str]:
    """Return the statements of the document."""
    heading = "PostgreSQL" if account.is_postgresql else "MariaDB, MySQL"
    matched = re.search(rf"-- {heading}\n((?:GRANT .*\n)+)", DOCUMENT.read_text())
    assert matched is not None
    return [line.rstrip(";") for line in matched[1].splitlines()]


def revoke(grant: str) -> str:
    return grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM ")


@pytest.fixture
def connect(request: pytest.FixtureRequest) -> Callable[[Database], SqlStore]:
    def connect(database: Database) -> SqlStore:
        store = database.connect(WAIT_TIMEOUT)
        request.addfinalizer(store.close)
        return store

    return connect


def test_a_password_that_is_rotated_is_used_by_the_next_connection(
    account: Account, tmp_path: Path, connect: Callable[[Database], SqlStore]
) -> None:
    account.run(*grants(account))
    file = tmp_path / "url"
    file.write_text(account.url + "\n")
    database = Database(DatabaseLocation(url_file=str(file)))
    store, other = connect(database), connect(Database(account.url))
    store.list_sessions()
    other.list_sessions()
    account.change_password("second")
    file.write_text(account.url + "\n")
    with pytest.raises(StoreUnavailable):  # the connection that was made with the old one
        store.list_sessions()
    store.list_sessions()
    database.lock_admin().status()
    for _ in range(2):  # without a file, the old password stays
        with pytest.raises(StoreUnavailable):
            other.list_sessions()


def test_a_password_in_a_file_of_its_own_is_rotated_too(
    account: Account, tmp_path: Path, connect: Callable[[Database], SqlStore]
) -> None:
    account.run(*grants(account))
    file = tmp_path / "password"
    file.write_text(account.password)
    url = account.url.replace(f":{account.password}@", "@")
    store = connect(Database(DatabaseLocation(url, password_file=str(file))))
    store.list_sessions()
    account.change_password("sec/ö@nd€")
    file.write_text(account.password)
    with pytest.raises(StoreUnavailable):
        store.list_sessions()
    store.list_sessions()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is empty"),
        ("postgresql://u:s3@cr3t@h/db", "more than one @"),
        ("postgresql://u:s3cr3t@h/other", "names another database than at the start"),
        ("sqlite:///jobs.db", "names another database than at the start"),
    ],
)
def test_a_file_that_becomes_wrong_is_an_outage_and_no_defect(
    content: str, complaint: str, tmp_path: Path, connect: Callable[[Database], SqlStore]
) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://u:s3cr3t@127.0.0.1:1/db")
    store = connect(Database(DatabaseLocation(url_file=str(file))))
    file.write_text(content)
    with pytest.raises(StoreUnavailable, match=complaint) as raised:
        store.list_sessions()
    assert "cr3t" not in str(raised.value)
    file.unlink()
    with pytest.raises(StoreUnavailable, match="No such file"):
        store.list_sessions()
    file.write_text("postgresql://u:s3cr3t@127.0.0.1:1,127.0.0.1:2/db")
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:2: .*refused"):
        store.list_sessions()


def use_everything(url: str) -> None:
    """Do all that a process does with its database."""
    database, lock_name = Database(url), f"job-{next(_numbers)}"
    database.prepare()
    store = database.connect(WAIT_TIMEOUT)
    try:
        elect_and_end(store, lock_name)
    finally:
        store.close()
    database.write_runs([RunRecord(lock_name, "report", "one", 1, running())])
    admin = database.lock_admin()
    admin.disable(lock_name, "a test", "tester")
    admin.enable(lock_name, "tester")
    admin.apply_switch(lock_name, SwitchSpec("file:x", "tester", "a test"))
    admin.apply_switch(lock_name, SwitchSpec("file:x", "tester", "another"))
    admin.remove_switch(lock_name, "file:x", "tester")
    admin.list_switches()
    admin.step_down(lock_name, "tester", "a test")
    admin.status()
    admin.history(lock_name)


def elect_and_end(store: SqlStore, lock_name: str) -> None:
    first, second = (f"session-{next(_numbers)}" for _ in range(2))
    for session_id in (first, second):
        store.open_session(NewSession(session_id, Identity("one"), 60_000))
    store.ensure_locks([lock_name])
    (term,) = store.claim(first, [lock_name])
    assert store.move(term, first, second) == second
    store.request_step_down(term, "tester", "a test")
    store.append_history([HistoryEntry(lock_name, term.number, TransitionKind.ELECTED, "a test")])
    store.renew(second, "one")
    store.release([second], [term])
    store.list_vacancies()
    (beat,) = (each.beat for each in store.list_sessions().sessions if each.id == first)
    store.evict(first, beat, if_stale=False)
    store.close_session(second)


def test_the_documented_grants_are_enough(account: Account) -> None:
    account.run(*grants(account))
    use_everything(account.url)


def test_each_documented_grant_is_needed(account: Account) -> None:
    statements: Sequence[str] = grants(account)
    account.run(*statements)
    for statement in statements:
        account.run(revoke(statement))
        with pytest.raises(StoreUnavailable, match="denied"):
            use_everything(account.url)
        account.run(statement)
    retry(use_everything, account.url)
