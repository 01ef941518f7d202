"""Planted bugs of the quarantine after a promotion."""

from masterjob.election.core.candidate import CandidateRole
from masterjob.election.core.liveness import LivenessDetector
from masterjob.election.core.master import MasterRole
from masterjob.election.core.quarantine import Quarantine
from masterjob.election.core.retiming import Retimer
from tests.simulation.memory import MemoryDatabase, MemoryStore
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import CONTRACT_TESTS, Edit, Mutant

MUTANTS = (
    Mutant(
        "there is no quarantine",
        rules.QUARANTINE,
        Edit(
            MemoryDatabase,
            "may_claim",
            "return incarnation.name == self.name and not incarnation.is_quarantined",
            "return True",
        ),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a promoted replica grants claims until somebody notes its promotion",
        rules.QUARANTINE,
        Edit(
            MemoryDatabase,
            "may_claim",
            "incarnation.name == self.name and not incarnation.is_quarantined",
            "not incarnation.is_quarantined",
        ),
    ),
    Mutant(
        "the quarantine ends after half of the longest lease",
        rules.QUARANTINE_LASTS,
        Edit(Quarantine, "observe", "+ self._longest_lease(", "+ 0.5 * self._longest_lease("),
    ),
    Mutant(
        "the quarantine lasts for the shortest lease",
        rules.QUARANTINE_LASTS,
        Edit(MemoryDatabase, "note_promotion", "max((row", "min((row"),
        Edit(Quarantine, "_longest_lease", "max(seen", "min(seen"),
    ),
    Mutant(
        "the quarantine ends by the time that the database tells",
        rules.QUARANTINE_LASTS,
        Edit(
            MemoryDatabase,
            "may_claim",
            "not incarnation.is_quarantined",
            "incarnation.since_ms + incarnation.lease_ms <= self.clock_ms()",
        ),
    ),
    Mutant(
        "a quarantine that was ended for one promotion is ended for the next",
        rules.QUARANTINE_LASTS,
        Edit(MemoryStore, "end_quarantine", "not incarnation.is_same(tables.incarnation)", "False"),
        unseen="the simulation promotes no replica twice under one name",
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "nobody ends the quarantine",
        rules.QUARANTINE_ENDS,
        Edit(
            Quarantine,
            "observe",
            "ends_at if self._ends_at == NEVER else max(self._ends_at, ends_at)",
            "NEVER",
        ),
    ),
    Mutant(
        "a promoted database extends the trust in terms that it lacks",
        rules.CONFIRMED,
        Edit(
            MasterRole, "is_confirmed_by", "return actual.incarnation.is_same(database.confirmed)", "return True"
        ),
    ),
    Mutant(
        "a claim that the old primary granted is served",
        rules.CONFIRMED,
        Edit(CandidateRole, "is_still_trusted", "and sent >= self._state.database.changed_at", "and True"),
    ),
    Mutant(
        "a move that the old primary executed counts",
        rules.CONFIRMED,
        Edit(Retimer, "_on_answer", "move.sent < self._state.database.changed_at", "False"),
    ),
    Mutant(
        "what was observed before a promotion counts after it",
        rules.OBSERVED_ANEW,
        Edit(LivenessDetector, "observe", "self._last_observation, self._watched = None, {}", "pass"),
    ),
    Mutant(
        "an eviction does not name the incarnation that was seen",
        rules.OBSERVED_ANEW,
        Edit(
            MemoryStore,
            "evict",
            "incarnation is None or incarnation.is_same(self._database.tables.incarnation)",
            "True",
        ),
        tests=CONTRACT_TESTS,
    ),
)
