"""Planted bugs of the statements, in the simulation's imitation of the database."""

from tests.simulation.memory import MemoryStore
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import CONTRACT_TESTS, Edit, Mutant

MUTANTS = (
    Mutant(
        "an eviction leaves its locks to the dead session",
        rules.HOLDER_CLEARED,
        Edit(MemoryStore, "_delete", "self._locks[term.lock_name].holder = None", "pass"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a claim takes a lock that another session holds",
        rules.CLAIM_FREE,
        Edit(MemoryStore, "claim", "row.enabled and row.holder is None", "row.enabled"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a new term is the last one plus one",
        rules.GROWING_TERM,
        Edit(MemoryStore, "next_term", "max(last + 1, self._database.clock_ms())", "last + 1"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a new term is the database's time",
        rules.GROWING_TERM,
        Edit(
            MemoryStore,
            "next_term",
            "max(last + 1, self._database.clock_ms())",
            "self._database.clock_ms()",
        ),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a session that was evicted is granted a claim",
        rules.CLAIM_FREE,
        Edit(MemoryStore, "claim", "if session_id not in self._sessions:", "if False:"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "the answer of a claim lists what it asked for and not what is held",
        rules.READ_BACK,
        Edit(MemoryStore, "claim", "in self._locks and self._locks[name].holder == session_id", "in self._locks"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a release does not name its term",
        rules.EXACT_TERM,
        Edit(
            MemoryStore,
            "release",
            "row.holder in session_ids and row.term == term.number",
            "row.holder in session_ids",
        ),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "an eviction does not name the beat that was seen",
        rules.BEAT_SEEN,
        Edit(MemoryStore, "evict", "if row is None or row.beat != beat:", "if row is None:"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "an eviction skips the database's own test",
        rules.STALE_TEST,
        Edit(MemoryStore, "evict", "if if_stale and", "if False and"),
        unseen="the candidate's arithmetic is right unless clock steps cancel out: a documented limit",
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "the guard lets every term write",
        rules.GUARD,
        Edit(
            MemoryStore,
            "can_commit",
            "row is not None and row.term == term.number and row.holder is not None",
            "True",
        ),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "the guard lets a term write while another is held",
        rules.GUARD,
        Edit(
            MemoryStore,
            "can_commit",
            "row is not None and row.term == term.number and row.holder is not None",
            "row is not None and row.holder is not None",
        ),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "the guard lets a term write whose lock was freed",
        rules.GUARD,
        Edit(MemoryStore, "can_commit", "row.holder is not None", "True"),
        tests=CONTRACT_TESTS,
    ),
)
