"""Planted bugs of connections, notifications and the guard, which the tests of `masterjob.store` find."""

from masterjob.store import fencing, notifier
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.connection.deadlines import DeadlineMonitor
from masterjob.store.notifier import Notifier
from masterjob.store.queries.sessions import SessionQueries
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import Edit
from tests.simulation.mutants.sql import mutant_of_store

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
        Edit(notifier, "_EVENTS_SINCE", "kind <> :elected", "kind <> :elected || 'x'"),
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
        Edit(fencing, "_SELECT_HELD_TERM", "term = {0}", "term >= {0}"),
        tests="fencing",
    ),
    mutant_of_store(
        "the guard passes for a lock that was freed",
        rules.GUARD,
        Edit(fencing, "_SELECT_HELD_TERM", " AND holder IS NOT NULL", ""),
        tests="fencing",
    ),
    mutant_of_store(
        "the guard does not lock the row on PostgreSQL",
        rules.GUARD,
        Edit(fencing, "_lock_term_row", ' + " FOR SHARE"', ""),
        tests="fencing",
    ),
    mutant_of_store(
        "the guard does not lock the row on MariaDB and MySQL",
        rules.GUARD,
        Edit(fencing, "_lock_term_row", ' + " LOCK IN SHARE MODE"', ""),
        tests="fencing",
    ),
    mutant_of_store(
        "the guard passes outside a transaction",
        rules.GUARD,
        Edit(fencing, "_require_transaction", "not in_transaction", "False"),
        tests="fencing",
    ),
)
