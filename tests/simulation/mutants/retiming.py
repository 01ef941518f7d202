"""Planted bugs of a change of timing: the move of a term to another session."""

from masterjob.election.core.elector import Elector
from masterjob.election.core.retiming import Retimer
from tests.simulation.memory import MemoryStore
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import CONTRACT_TESTS, Edit, Mutant

MUTANTS = (
    Mutant(
        "a term that moves depends on its new session alone",
        rules.SMALLER_TRUST,
        Edit(Retimer, "_send_move", "(old, session), phase.since, move", "(session,), phase.since, move"),
    ),
    Mutant(
        "a term that moves has the larger trust of its two sessions",
        rules.SMALLER_TRUST,
        Edit(Elector, "trusted_until", "return min(", "return max("),
    ),
    Mutant(
        "a job whose term moves has the longer of both stop timeouts",
        rules.SMALLER_TRUST,
        Edit(Retimer, "_send_move", "min(old.timing.stop_timeout", "max(old.timing.stop_timeout"),
    ),
    Mutant(
        "a move does not name its term",
        rules.MOVE,
        Edit(MemoryStore, "move", "if row is None or row.term != term.number:", "if row is None:"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a move takes the lock from whoever holds it now",
        rules.MOVE,
        Edit(MemoryStore, "move", "row.holder == from_session_id and to_session_id in", "to_session_id in"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a move goes to a session that was evicted",
        rules.MOVE,
        Edit(
            MemoryStore,
            "move",
            "row.holder == from_session_id and to_session_id in self._sessions",
            "row.holder == from_session_id",
        ),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a move without an answer counts as done",
        rules.UNKNOWN,
        Edit(Retimer, "_on_move_failed", "lock.phase.sessions, lock", "lock.phase.sessions[-1:], lock"),
    ),
    Mutant(
        "a move counts as done whatever the database answers",
        rules.MOVE,
        Edit(
            Retimer,
            "_on_moved",
            "next((session for session in phase.sessions if session.id == holder), None)",
            "phase.sessions[-1]",
        ),
    ),
    Mutant(
        "a term returns to a session that an unanswered move may still leave",
        rules.UNKNOWN,
        Edit(
            Retimer,
            "_target_session",
            "session is not None and session.id in lock.unconfirmed_sources",
            "False",
        ),
    ),
    Mutant(
        "a term moves to a session with hardly any trust",
        rules.CLAIM_TRUST,
        Edit(
            Retimer,
            "_target_session",
            "session if session is not None and session.can_claim(self._state.now) else None",
            "session",
        ),
    ),
)
