"""Planted bugs of the eviction: when a session is dead."""

from masterjob.election.core.evictor import Evictor
from masterjob.election.core.liveness import LivenessDetector
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import Edit, Mutant

MUTANTS = (
    Mutant(
        "an eviction goes by the database's clock alone",
        rules.AGE_BELIEVED,
        Edit(LivenessDetector, "_guaranteed_age", "if (\n", "return row.age_ms / 1000\n    if (\n"),
    ),
    Mutant(
        "a new candidate believes the ages of a clock that it does not know",
        rules.NEW_CANDIDATE,
        Edit(
            LivenessDetector,
            "_guaranteed_age",
            "if (\n",
            "if self._last_observation is None:\n        return max(0.0, row.age_ms / 1000)\n    if (\n",
        ),
    ),
    Mutant(
        "a candidate that was paused believes the ages of a clock that it has not watched",
        rules.AGE_BELIEVED,
        Edit(
            LivenessDetector,
            "_guaranteed_age",
            "observation.received - self._last_observation.sent > row.lease_ms / 1000",
            "False",
        ),
    ),
    Mutant(
        "what the database's clock can have gained is not taken from an age",
        rules.AGE_BELIEVED,
        Edit(LivenessDetector, "_guaranteed_age", "row.age_ms / 1000 - gain", "row.age_ms / 1000"),
    ),
    Mutant(
        "an age is believed though the database's clock has stepped",
        rules.AGE_BELIEVED,
        Edit(
            LivenessDetector,
            "_guaranteed_age",
            "if gain is None or ",
            "gain = gain or 0.0\n    if ",
        ),
    ),
    Mutant(
        "an age is believed though it contradicts that the beat has moved",
        rules.MOVED_BEAT,
        Edit(LivenessDetector, "_is_contradicted", "return row.id in self._wrong_ages", "return False"),
    ),
    Mutant(
        "a look at the sessions counts from its sending",
        rules.LEASE_PASSED,
        Edit(
            LivenessDetector,
            "_start_watching",
            "return WatchedSession(",
            "observation = _Observation(observation.sent, observation.sent, observation.clock)\n"
            "    return WatchedSession(",
        ),
    ),
    Mutant(
        "a session is dead after standing still for nine tenths of its lease",
        rules.STANDSTILL,
        Edit(LivenessDetector, "_start_watching", "STANDSTILL_LEASES * lease", "0.9 * lease"),
    ),
    Mutant(
        "a new candidate evicts after half a lease",
        rules.NEW_CANDIDATE,
        Edit(
            LivenessDetector,
            "_start_watching",
            "STANDSTILL_LEASES * lease",
            "(0.5 if self._last_observation is None else STANDSTILL_LEASES) * lease",
        ),
    ),
    Mutant(
        "a session that stands still is evicted only if the database's clock agrees",
        rules.STANDSTILL,
        Edit(LivenessDetector, "suspects", "if_stale=False", "if_stale=True"),
    ),
    Mutant(
        "a session is suspected although its beat has changed",
        rules.LEASE_PASSED,
        Edit(
            LivenessDetector,
            "_keep_if_unchanged",
            "watched is None or watched.row.beat != row.beat",
            "watched is None",
        ),
    ),
    Mutant(
        "the sessions are read as often as something happens",
        rules.COST,
        Edit(Evictor, "advance", "state.now >= self._list_at", "True"),
        unseen="no invariant says what an election costs",
    ),
)
