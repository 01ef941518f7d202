"""Planted bugs of a candidate: its scans and claims."""

from masterjob.election.core.candidate import CandidateRole
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import Edit, Mutant

FAIRNESS = "no invariant says which instance claims"

MUTANTS = (
    Mutant(
        "a granted term starts without another look at the trust",
        rules.TRUST_AGAIN,
        Edit(CandidateRole, "is_still_trusted", "session.trust_left(self._state.now) > 0", "True"),
    ),
    Mutant(
        "without a notification no instance looks for free locks",
        rules.HINT,
        Edit(
            CandidateRole,
            "_scan",
            "state.now + min(timing.check_master_interval for timing in state.demand)",
            "NEVER",
        ),
    ),
    Mutant(
        "an instance claims more than its fair share at once",
        rules.FAIR_SHARE,
        Edit(CandidateRole, "_on_vacancies", "if not (is_alone or ignore_fair_share):", "if False:"),
        unseen=FAIRNESS,
    ),
    Mutant(
        "what an instance holds does not count towards its fair share",
        rules.FAIR_SHARE,
        Edit(CandidateRole, "_on_vacancies", "fair_share - len(state.held_terms)", "fair_share"),
        unseen=FAIRNESS,
    ),
    Mutant(
        "what exceeds the fair shares is never claimed",
        rules.OPEN_CLAIM,
        Edit(
            CandidateRole,
            "_on_vacancies",
            "state.now + OPEN_CLAIM_DELAY if len(free) > open_share else NEVER",
            "NEVER",
        ),
    ),
    Mutant(
        "an instance that won a part of its share waits for the others",
        rules.CHOOSE_AGAIN,
        Edit(
            CandidateRole,
            "_on_claimed",
            "self._state.rng.uniform(0, RECHOOSE_DELAY) if granted else OPEN_CLAIM_DELAY",
            "OPEN_CLAIM_DELAY",
        ),
        unseen=FAIRNESS,
    ),
)
