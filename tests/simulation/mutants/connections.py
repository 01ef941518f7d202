"""Planted bugs of connections, notifications and the guard, which the tests of `masterjob.store` find."""

from masterjob.store import fencing, notifier
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.connection.deadlines import DeadlineMonitor
from masterjob.store.notifier import Notifier
from masterjob.store.queries.sessions import SessionQueries
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import Edit
from tests.simulation.mutants.sql import mutant_of_store


def _in_all_guards(old: str, new: str) -> tuple[Edit, ...]:
    names = ("_POSTGRESQL_LOCK", "_MYSQL_WRITE", "_SQLITE_WRITE")
    return tuple(Edit(fencing, name, old, new) for name in names)


MUTANTS = (
    mutant_of_store(
        "a call that takes too long is not aborted",
        rules.HUNG_CALL,
        Edit(DeadlineMonitor, "_run", "abort()", "pass"),
        tests="connection deadlines",
    ),
    mutant_of_store(
        "a connect cannot be left behind",
        rules.HUNG_CALL,
        Edit(
            BoundedConnection,
            "_ensure_connected",
            "if not self.dialect.is_remote:",
            "if True:",
        ),
        tests="connection deadlines",
    ),
    mutant_of_store(
        "a pooler that loses notifications goes undetected",
        rules.PROBE,
        Edit(Notifier, "_listen", "if not self._probe_arrives(self._probe_db):", "if False:"),
        tests="notifier",
    ),
    mutant_of_store(
        "a connection that loses notifications later goes undetected",
        rules.PROBE,
        Edit(Notifier, "_listen", "if not self._probe_arrives(self._db):", "if False:"),
        tests="notifier",
    ),
    mutant_of_store(
        "a new master is notified to all",
        rules.QUIET_HEARTBEATS,
        Edit(notifier, "_EVENTS_SINCE", "kind NOT IN :kinds", "kind || 'x' NOT IN :kinds"),
        tests="notifier",
    ),
    mutant_of_store(
        "a heartbeat is notified",
        rules.QUIET_HEARTBEATS,
        Edit(
            SessionQueries,
            "renew",
            "if self._db.dialect",
            "notify(self._db, [term.lock_name for term in self._terms_held_by(session_id)])\n"
            "    if self._db.dialect",
        ),
        tests="notifier",
    ),
    mutant_of_store(
        "the guard passes for a term before the one that is held",
        rules.GUARD,
        *_in_all_guards(" AND term = ", " AND term >= "),
        tests="fencing",
    ),
    mutant_of_store(
        "the guard passes for a lock that was freed",
        rules.GUARD,
        *_in_all_guards(" AND holder IS NOT NULL", ""),
        tests="fencing",
    ),
    mutant_of_store(
        "the guard does not lock the row on PostgreSQL",
        rules.GUARD,
        Edit(fencing, "_POSTGRESQL_LOCK", " FOR SHARE", ""),
        tests="fencing",
    ),
    mutant_of_store(
        "the guard locks the row only for sharing on MariaDB and MySQL",
        rules.GUARD,
        Edit(fencing, "_MYSQL_WRITE", "UPDATE master_lock SET guarded = guarded + 1", "SELECT 1 FROM master_lock"),
        Edit(fencing, "_MYSQL_WRITE", "IS NOT NULL", "IS NOT NULL LOCK IN SHARE MODE"),
        tests="guard_matrix",
    ),
    mutant_of_store(
        "the guard only reads on SQLite",
        rules.GUARD,
        Edit(fencing, "_SQLITE_WRITE", "UPDATE master_lock SET term = term", "SELECT 1 FROM master_lock"),
        tests="guard_matrix",
    ),
    mutant_of_store(
        "a guard in a savepoint counts on PostgreSQL",
        rules.GUARD,
        Edit(fencing, "_POSTGRESQL_IN_SAVEPOINT", "WHERE lock_name", "WHERE FALSE AND lock_name"),
        tests="guard_matrix",
    ),
    mutant_of_store(
        "the guard passes outside a transaction",
        rules.GUARD,
        Edit(fencing, "_require_transaction", "not in_transaction", "False"),
        tests="fencing",
    ),
)
