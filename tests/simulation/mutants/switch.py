"""Planted bugs of the switch and of a request to step down."""

from masterjob.election.core.master import MasterRole
from tests.simulation.memory import MemoryDatabase, MemoryStore
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import CONTRACT_TESTS, Edit, Mutant

MUTANTS = (
    Mutant(
        "a disable clears the holder of a live master",
        rules.NOT_CLEARED,
        Edit(
            MemoryDatabase,
            "_set_enabled",
            "self.notify_listeners([lock_name])",
            "self.tables.locks[lock_name].holder = self.tables.locks[lock_name].holder if enabled else None\n"
            "    self.notify_listeners([lock_name])",
        ),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a request to step down clears the holder",
        rules.NOT_CLEARED,
        Edit(MemoryStore, "request_step_down", "row.step_down_term = term.number", "row.holder = None"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a claim ignores that the lock is disabled",
        rules.ENABLED,
        Edit(MemoryStore, "claim", "row.enabled and row.holder is None", "row.holder is None"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a disable is not shown to the master",
        rules.ENABLED,
        Edit(MemoryStore, "read_inventory", "if not row.enabled or row.step_down", "if row.step_down"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a step-down that was requested of an earlier term is shown to every later one",
        rules.STEP_DOWN_TERM,
        Edit(
            MemoryStore,
            "claim",
            "row.holder, row.term, row.step_down_term = session_id, self.next_term(row.term), None",
            "row.holder, row.term = session_id, self.next_term(row.term)",
        ),
        Edit(MemoryStore, "read_inventory", "row.step_down_term == row.term", "row.step_down_term is not None"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a stop request for an earlier term ends the term that is held now",
        rules.STEP_DOWN_TERM,
        Edit(
            MasterRole,
            "check_inventory",
            "state.held_lock(request.term)",
            "state.locks.get(request.term.lock_name)",
        ),
    ),
)
