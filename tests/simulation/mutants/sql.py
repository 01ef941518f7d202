"""Planted bugs of the real statements: the simulation has its own store, so the tests of `store` find them.

The same checks run on the real databases and on the simulation's store (tests/store/test_contract_*.py), so what
`store` plants in the one is planted here in the other.
"""

from masterjob.store import schema
from masterjob.store.connection import incarnation
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.connection.dialects import PostgreSQLDialect, SQLiteDialect
from masterjob.store.queries import incarnations, inventory, locks, sessions, switches
from masterjob.store.queries.locks import LockQueries
from masterjob.store.queries.sessions import SessionQueries
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import Edit, Mutant
from tests.simulation.mutants.rules import Rule


def mutant_of_store(sentence: str, rule: Rule, *edits: Edit, tests: str) -> Mutant:
    """Return a mutant that the files ``test_{word}.py`` of the store's tests stand for."""
    paths = " ".join(f"tests/store/test_{name}.py" for name in tests.split())
    return Mutant(sentence, rule, *edits, unseen="the simulation has its own store", tests=paths)


def _in_both_renewals(old: str, new: str) -> tuple[Edit, Edit]:
    """PostgreSQL has its own statement, which was built from the other."""
    return (
        Edit(sessions, "_RENEW", old, new),
        Edit(sessions, "_RENEW_AND_READ_INVENTORY", old, new),
    )


def _in_both_summaries(old: str, new: str) -> tuple[Edit, Edit]:
    return (
        Edit(inventory, "SUMMARY", old, new),
        Edit(sessions, "_RENEW_AND_READ_INVENTORY", old, new),
    )


def _in_all_claims_and_evictions(old: str, new: str) -> tuple[Edit, Edit]:
    return (Edit(locks, "_CLAIM", old, new), Edit(sessions, "_EVICT", old, new))


MUTANTS = (
    mutant_of_store(
        "a claim reads which locks are free and takes them with another statement",
        rules.ONE_STATEMENT,
        Edit(locks, "_CLAIM", "{only_free} AND enabled AND holder IS NULL", "lock_name IN :names"),
        Edit(
            LockQueries,
            "claim",
            "self._skip_locked(chunk)",
            "[row.lock_name for row in self._db.fetch_all(_FREE_LOCKS) if row.lock_name in chunk]",
        ),
        tests="contract_locks races",
    ),
    mutant_of_store(
        "SQLite keeps no foreign keys, so an eviction leaves its locks to the dead session",
        rules.HOLDER_CLEARED,
        Edit(SQLiteDialect, "configure_session", "foreign_keys = ON", "foreign_keys = OFF"),
        Edit(SQLiteDialect, "configure_session", "scalar() != 1", "scalar() not in (0, 1)"),
        tests="contract_sessions",
    ),
    mutant_of_store(
        "the statement of a claim ignores that a lock is disabled",
        rules.ENABLED,
        Edit(locks, "_CLAIM", "{only_free} AND enabled AND holder", "{only_free} AND holder"),
        tests="contract_locks",
    ),
    mutant_of_store(
        "a lock is enabled when the source of the API enables it",
        rules.ENABLED,
        Edit(switches, "_SET_ENABLED", "AND NOT enabled)", "AND NOT enabled AND source = 'api')"),
        tests="switch declared_switches",
    ),
    mutant_of_store(
        "the inventory does not say which locks were disabled",
        rules.ENABLED,
        *_in_both_summaries("NOT enabled OR step_down_term", "step_down_term"),
        tests="contract_sessions switch",
    ),
    mutant_of_store(
        "a request to step down may come for a term that is over",
        rules.STEP_DOWN_TERM,
        Edit(locks, "_REQUEST_STEP_DOWN", "AND term = :term AND", "AND"),
        tests="contract_locks",
    ),
    mutant_of_store(
        "tables of a newer release are used",
        rules.VERSION,
        Edit(schema, "_has_newest_version", "version is not None and version not in KNOWN_VERSIONS", "False"),
        tests="schema",
    ),
    mutant_of_store(
        "the time is that of the beginning of the transaction",
        rules.DATABASE_TIME,
        Edit(
            PostgreSQLDialect,
            "fragments",
            "extract(epoch FROM statement_timestamp())",
            "extract(epoch FROM now())",
        ),
        tests="time",
    ),
    mutant_of_store(
        "the statement of a renewal does not increment the beat",
        rules.RENEW,
        *_in_both_renewals("beat = beat + 1", "beat = beat"),
        tests="contract_sessions",
    ),
    mutant_of_store(
        "the statement of a renewal does not write the time",
        rules.RENEW,
        *_in_both_renewals("heartbeat_ms = {now_ms}", "heartbeat_ms = heartbeat_ms"),
        tests="contract_sessions",
    ),
    mutant_of_store(
        "a renewal without a row returns an inventory",
        rules.EVICTED,
        Edit(SessionQueries, "renew", "row) if row.renewed else None", "row)"),
        Edit(SessionQueries, "renew", "== 0", "< 0"),
        tests="contract_sessions",
    ),
    mutant_of_store(
        "the statement of an eviction does not name the beat",
        rules.BEAT_SEEN,
        Edit(sessions, "_EVICT", "beat = :beat", "beat >= 0 * :beat"),
        tests="contract_sessions",
    ),
    mutant_of_store(
        "the statement of an eviction does not test the lease",
        rules.STALE_TEST,
        Edit(sessions, "_AND_LEASE_EXPIRED", "heartbeat_ms + lease_ms <= {now_ms}", "heartbeat_ms <= {now_ms}"),
        tests="contract_sessions",
    ),
    mutant_of_store(
        "the statement of an eviction has a lease of its own",
        rules.LEASE_OF_ROW,
        Edit(sessions, "_AND_LEASE_EXPIRED", "lease_ms <=", "24000 <="),
        tests="contract_sessions",
    ),
    mutant_of_store(
        "the statement of a claim takes what another session holds",
        rules.CLAIM_FREE,
        Edit(locks, "_CLAIM", "enabled AND holder IS NULL", "enabled"),
        tests="contract_locks",
    ),
    mutant_of_store(
        "the statement of a claim counts up from the last term",
        rules.GROWING_TERM,
        Edit(locks, "_CLAIM", "term + 1, {now_ms}, ", "term + 1, "),
        tests="time contract_locks",
    ),
    mutant_of_store(
        "the statement of a claim takes the time as the term",
        rules.GROWING_TERM,
        Edit(locks, "_CLAIM", "term + 1, {now_ms}, ", "{now_ms}, "),
        tests="time contract_locks",
    ),
    mutant_of_store(
        "the answer of a claim has the terms of others",
        rules.READ_BACK,
        Edit(locks, "_CLAIMED_TERMS", "holder = :session_id", "(holder = :session_id OR holder IS NOT NULL)"),
        tests="contract_locks",
    ),
    mutant_of_store(
        "the statement of a move does not name the term",
        rules.MOVE,
        Edit(locks, "_MOVE", "term = :term", "term >= 0 * :term"),
        tests="contract_locks",
    ),
    mutant_of_store(
        "the statement of a move does not name the session that it leaves",
        rules.MOVE,
        Edit(locks, "_MOVE", "holder = :old", "(holder = :old OR holder IS NOT NULL)"),
        tests="contract_locks",
    ),
    mutant_of_store(
        "the statement of a release does not name the term",
        rules.EXACT_TERM,
        Edit(locks, "_RELEASE", "(lock_name, term) IN", "(lock_name, 0) IN"),
        Edit(LockQueries, "release", "(term.lock_name, term.number)", "(term.lock_name, 0)"),
        tests="contract_locks",
    ),
    mutant_of_store(
        "the statement of a release does not name the session",
        rules.EXACT_TERM,
        Edit(locks, "_RELEASE", "holder IN :sessions", "(holder IN :sessions OR holder IS NOT NULL)"),
        tests="contract_locks",
    ),
    mutant_of_store(
        "the switch does not lock the lock's row first",
        rules.SWITCH,
        Edit(switches, "_SELECT_LOCK_FOR_UPDATE", "{for_update}", ""),
        tests="races",
    ),
    mutant_of_store(
        "no server ends a switch whose client is silent",
        rules.SWITCH_TIMEOUT,
        Edit(
            BoundedConnection,
            "_run_in_transaction",
            "for statement in self.dialect.begin(self.timeout, is_shared=self.is_shared):",
            "for statement in [each for each in self.dialect.begin_statements if 'timeout' not in each]:",
        ),
        Edit(
            PostgreSQLDialect,
            "_limits",
            '"idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_TIMEOUT}s"',
            '"idle_in_transaction_session_timeout": "0"',
        ),
        tests="races",
    ),
    mutant_of_store(
        "the statements of a claim and an eviction ignore the quarantine",
        rules.QUARANTINE,
        *_in_all_claims_and_evictions("i.may_claim AND", ""),
        tests="contract_quarantine",
    ),
    mutant_of_store(
        "the statements of a claim and an eviction ignore that the promotion was not noted yet",
        rules.QUARANTINE,
        *_in_all_claims_and_evictions("AND i.incarnation = {incarnation}", ""),
        tests="incarnation",
    ),
    mutant_of_store(
        "the name of a PostgreSQL server has no timeline",
        rules.QUARANTINE,
        Edit(incarnation, "_POSTGRESQL", "left(pg_walfile_name(pg_current_wal_lsn()), 8)", "''"),
        tests="promotion",
    ),
    mutant_of_store(
        "the end of a quarantine does not name the incarnation",
        rules.QUARANTINE_LASTS,
        Edit(incarnations, "_END_QUARANTINE", "AND i.incarnation = :name AND i.since_ms = :since_ms", ""),
        tests="contract_quarantine",
    ),
)
