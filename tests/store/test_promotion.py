"""A real replica that lacks the last commits is promoted: nothing is claimed until its quarantine ends."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from masterjob.election.values import Inventory, Term
from masterjob.errors import StoreUnavailable
from masterjob.store.database import Database, SqlStore
from tests.servers import MariaDBPrimary, MariaDBReplica, PostgreSQL, PostgreSQLStandby
from tests.store.conftest import claim_lock, open_session


@dataclass
class Failover:
    """A replica in place of its primary, which is gone."""

    database: Database
    store: SqlStore
    replica: PostgreSQLStandby | MariaDBReplica
    living: str
    """A session that both have; it holds the lock ``kept``."""
    kept: Term
    lost: str
    """A session that only the old primary had; it held the lock ``lost``, which was free before."""
    lost_term: Term

    def promote(self) -> None:
        self.replica.promote()


@pytest.fixture(params=["postgresql", "mariadb"])
def failover(request: pytest.FixtureRequest) -> Iterator[Failover]:
    request.getfixturevalue(request.param)  # is it installed?
    with ExitStack() as stack:
        primary: PostgreSQL | MariaDBPrimary
        primary = PostgreSQL() if request.param == "postgresql" else MariaDBPrimary()
        stack.callback(primary.stop)
        primary.start()
        url = primary.create_database()
        database = Database(url)
        database.prepare()
        old_store = database.connect(10.0)
        living = open_session(old_store, "living", lease_ms=24_000)
        kept = claim_lock(old_store, living, "kept")
        old_store.ensure_locks(["lost"])
        replica = _lagging_replica(primary, stack)
        lost = open_session(old_store, "lost", lease_ms=60_000)
        lost_term = claim_lock(old_store, lost, "lost")
        old_store.close()
        primary.stop()
        if isinstance(replica, PostgreSQLStandby):
            replica.start()
        promoted = Database(url.replace(f":{primary.port}/", f":{replica.port}/"))
        store = promoted.connect(10.0)
        stack.callback(store.close)
        yield Failover(promoted, store, replica, living, kept, lost, lost_term)


def _lagging_replica(primary: PostgreSQL | MariaDBPrimary, stack: ExitStack) -> PostgreSQLStandby | MariaDBReplica:
    """Return a replica that receives nothing more."""
    if isinstance(primary, PostgreSQL):
        standby = PostgreSQLStandby(primary)
        stack.callback(standby.stop)
        return standby
    replica = MariaDBReplica()
    stack.callback(replica.stop)
    replica.start()
    replica.follow(primary)
    replica.lag()
    return replica


def test_a_promoted_replica_grants_no_claim_and_evicts_nobody_until_the_quarantine_ends(
    failover: Failover,
) -> None:
    with pytest.raises(StoreUnavailable):  # it is a replica, which takes no writes
        failover.store.list_sessions()
    failover.promote()
    store = failover.store
    assert store.claim(failover.living, ["lost"]) == (), "nobody has noted the promotion yet"
    assert store.renew(failover.living, "living") == Inventory.of([failover.kept]), "a living master goes on"
    assert store.renew(failover.lost, "lost") is None, "its session is lost"

    (session,) = (session_list := store.list_sessions()).sessions
    incarnation = session_list.incarnation
    assert (incarnation.is_quarantined, incarnation.lease_ms) == (True, 24_000)
    assert store.claim(failover.living, ["lost"]) == ()
    assert store.evict(failover.living, session.beat, if_stale=False) is None
    assert not store.end_quarantine(replace(incarnation, name="the old primary's"))
    assert store.claim(failover.living, ["lost"]) == ()

    assert store.end_quarantine(incarnation)
    assert not store.list_sessions().incarnation.is_quarantined
    (term,) = store.claim(failover.living, ["lost"])
    assert term.number > failover.lost_term.number
    assert store.evict(failover.living, session.beat, if_stale=False, incarnation=incarnation) is not None


def test_a_free_lock_says_that_the_database_was_promoted(failover: Failover) -> None:
    failover.promote()
    failover.store.renew(failover.living, "living")
    (lock,) = failover.database.lock_admin().status("lost")
    assert lock.why.startswith("the database was promoted at 20")
    assert ": no instance claims a lock before 20" in lock.why
    failover.store.end_quarantine(failover.store.list_sessions().incarnation)
    (lock,) = failover.database.lock_admin().status("lost")
    assert "promoted" not in lock.why
