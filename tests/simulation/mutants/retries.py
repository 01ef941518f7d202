"""Planted bugs of the retries of a heartbeat, and of what counts as waiting."""

from masterjob.concurrency.clock import RunningClock
from masterjob.election.core.evictor import Evictor
from masterjob.election.core.heartbeat import Heartbeat
from masterjob.election.core.master import MasterRole
from masterjob.election.core.session import Session
from masterjob.election.core.state import ElectorState
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import Edit, Mutant

AVAILABILITY = "no invariant promises that a master keeps its lock, or counts attempts"

MUTANTS = (
    Mutant(
        "the terms end when the retries are used up",
        rules.RETRIES,
        Edit(
            Heartbeat,
            "_on_failed",
            "session.record_failure(sent, self._state.now, self._state.rng.random())",
            "session.record_failure(sent, self._state.now, self._state.rng.random())\n"
            "    session.failures = vars(session).get('failures', 0) + 1\n"
            "    too_many = session.failures > session.timing.max_heartbeat_retry_count\n"
            "    if too_many and session.phase is SessionPhase.TRUSTED:\n"
            "        session.phase = SessionPhase.UNTRUSTED\n"
            "        self._master_role.end_terms_on(session, 'no heartbeat was confirmed')",
        ),
        Edit(Session, "record_renewal", "self.phase =", "self.failures = 0; self.phase ="),
    ),
    Mutant(
        "the first heartbeat that fails ends the terms",
        rules.RETRIES,
        Edit(
            Heartbeat,
            "_on_failed",
            "session.record_failure(sent, self._state.now, self._state.rng.random())",
            "session.record_failure(sent, self._state.now, self._state.rng.random())\n"
            "    self._master_role.end_terms_on(session, 'no heartbeat was confirmed')",
        ),
    ),
    Mutant(
        "a heartbeat that fails is not repeated before the trust ends",
        rules.RETRIES,
        Edit(
            Session,
            "record_failure",
            "max(now, sent + max(MIN_RETRY_DELAY, self._retry_delay(sent)))",
            "max(now, self.trusted_until)",
        ),
        unseen=AVAILABILITY,
    ),
    Mutant(
        "a heartbeat that fails is repeated at once",
        rules.SPACING,
        Edit(
            Session,
            "record_failure",
            "max(now, sent + max(MIN_RETRY_DELAY, self._retry_delay(sent)))",
            "now",
        ),
        unseen=AVAILABILITY,
    ),
    Mutant(
        "the retries do not come closer before the trust ends",
        rules.SPACING,
        Edit(
            Session,
            "_retry_delay",
            "min(self.timing.retry_interval, self.trust_left(sent) / 2)",
            "self.timing.retry_interval",
        ),
        unseen=AVAILABILITY,
    ),
    Mutant(
        "the retries come infinitely close before the trust ends",
        rules.SPACING,
        Edit(
            Session, "record_failure", "max(MIN_RETRY_DELAY, self._retry_delay(sent))", "self._retry_delay(sent)"
        ),
        unseen=AVAILABILITY,
    ),
    Mutant(
        "one attempt may take all the trust that is left",
        rules.ATTEMPT,
        Edit(Session, "attempt_timeout", "return max(self._retry_delay(now),", "return max(trust_left,"),
        unseen=AVAILABILITY,
    ),
    Mutant(
        "an attempt is given up before it can succeed",
        rules.ATTEMPT,
        Edit(
            Session,
            "attempt_timeout",
            "max(self._retry_delay(now), min(ATTEMPT_TIME, heartbeat_interval / 4, trust_left))",
            "self._retry_delay(now)",
        ),
        unseen=AVAILABILITY,
    ),
    Mutant(
        "an attempt may take longer than the trust that is left",
        rules.ATTEMPT,
        Edit(Session, "attempt_timeout", "heartbeat_interval / 4, trust_left)", "heartbeat_interval / 4)"),
        unseen=AVAILABILITY,
    ),
    Mutant(
        "a freeze does not count towards the trust",
        rules.FREEZE,
        Edit(ElectorState, "advance_clock", "self.now += passed", "self.now += min(passed, 0.5)"),
    ),
    Mutant(
        "a freeze counts as waiting for an answer",
        rules.FREEZE,
        Edit(ElectorState, "advance_clock", "min(passed, self._look_interval())", "passed"),
        unseen=AVAILABILITY,
    ),
    Mutant(
        "a release is retried after as long as its process was frozen",
        rules.FREEZE,
        Edit(MasterRole, "_send_release", "state.running_time - started", "state.now - release.sent"),
    ),
    Mutant(
        "an eviction is retried after as long as its process was frozen",
        rules.FREEZE,
        Edit(Evictor, "advance", "state.running_time - started", "state.now - evict.sent"),
    ),
    Mutant(
        "the elector does not look at the clock while it waits for an answer",
        rules.FREEZE,
        Edit(ElectorState, "next_deadline", "min(time_left, self._look_interval())", "time_left"),
    ),
    Mutant(
        "a call to the database times out while its process is frozen",
        rules.FREEZE,
        Edit(RunningClock, "__call__", "min(now - self._last, MAX_GAP)", "now - self._last"),
        unseen="the simulation imitates this code",
        tests="tests/concurrency tests/store/test_deadlines.py",
    ),
)
