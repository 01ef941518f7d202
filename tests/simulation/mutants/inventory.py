"""Planted bugs of the inventory: the comparison of what is held with what is run."""

from masterjob.election.core.candidate import CandidateRole
from masterjob.election.core.heartbeat import Heartbeat
from masterjob.election.core.master import MasterRole
from masterjob.election.values import Inventory
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import Edit, Mutant

MUTANTS = (
    Mutant(
        "the inventory is never found to differ",
        rules.INVENTORY,
        Edit(
            Inventory,
            "matches",
            "(self.count, self.term_sum) == (other.count, other.term_sum)",
            "True",
        ),
    ),
    Mutant(
        "the inventory counts the terms and ignores their numbers",
        rules.INVENTORY,
        Edit(
            Inventory,
            "matches",
            "(self.count, self.term_sum) == (other.count, other.term_sum)",
            "self.count == other.count",
        ),
    ),
    Mutant(
        "the inventory is not compared with every heartbeat",
        rules.INVENTORY,
        Edit(Heartbeat, "_on_renewed", "self._master_role.check_inventory(renew.expected, inventory)", "pass"),
    ),
    Mutant(
        "the inventory is compared with what is held when the answer comes",
        rules.INVENTORY,
        Edit(
            Heartbeat,
            "_on_renewed",
            "check_inventory(renew.expected, inventory)",
            "check_inventory(self._state.inventory(), inventory)",
        ),
    ),
    Mutant(
        "what was read before a claim ends its term",
        rules.IN_FLIGHT,
        Edit(MasterRole, "_reconcile", "if lock.changed_at < sent and (name", "if (name"),
    ),
    Mutant(
        "a claim in flight is taken for an orphan",
        rules.IN_FLIGHT,
        Edit(
            MasterRole,
            "_reconcile",
            "(isinstance(lock.phase, Waiting) and lock.changed_at < sent)",
            "name not in self._state.held_terms",
        ),
    ),
    Mutant(
        "a term that is held and not run is adopted",
        rules.NOTHING_ADOPTED,
        Edit(
            MasterRole,
            "_reconcile",
            "self._orphan_terms[row.term] = row.session_id",
            "any(self.serve(lock, row.term, each) for each in self._state.sessions.values() "
            "if lock is not None and each.id == row.session_id)",
        ),
    ),
    Mutant(
        "a term that is held and not run is not released",
        rules.NOTHING_ADOPTED,
        Edit(MasterRole, "_reconcile", "self._orphan_terms[row.term] = row.session_id", "pass"),
    ),
    Mutant(
        "a term that is run and not held is not stopped",
        rules.NOTHING_ADOPTED,
        Edit(
            MasterRole,
            "_reconcile",
            'self.end_term(lock, "the database no longer names it master", is_lost=True)',
            "pass",
        ),
    ),
    Mutant(
        "an orphan whose release is on its way is served",
        rules.NOTHING_ADOPTED,
        Edit(CandidateRole, "_on_claimed", "if not self._master_role.is_orphan(term)", "if True"),
    ),
    Mutant(
        "rows that a promoted replica lost are not written again",
        rules.LOST_ROWS,
        Edit(MasterRole, "_reconcile", "self._state.missing_rows.append(name)", "pass"),
        Edit(CandidateRole, "_restore_rows", "self._state.missing_rows = list(self._state.locks)", "pass"),
    ),
)
