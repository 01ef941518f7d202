"""Planted bugs of sessions: their ids, their renewal, and what ends them."""

from masterjob.election.core.heartbeat import Heartbeat
from masterjob.election.core.liveness import LivenessDetector
from masterjob.election.core.session import Session
from masterjob.election.core.state import ElectorState
from masterjob.election.timing import Timing
from tests.simulation.memory import MemoryStore
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import CONTRACT_TESTS, Edit, Mutant

MUTANTS = (
    Mutant(
        "the late answer of a command that was given up is obeyed",
        rules.UNKNOWN,
        Edit(
            ElectorState,
            "time_out_commands",
            "self.emit(Abandon(command))",
            'vars(self).setdefault("late", {})[command] = self._in_flight[command]',
        ),
        Edit(
            ElectorState,
            "complete",
            "self._in_flight.pop(event.command, None)",
            'self._in_flight.pop(event.command, None) or vars(self).get("late", {}).pop(event.command, None)',
        ),
    ),
    Mutant(
        "a session id is used again after an eviction",
        rules.SESSION_ID,
        Edit(Heartbeat, "advance", "self._new_id()", 'f"{state.identity.instance} {timing}"'),
    ),
    Mutant(
        "an opening without an answer is repeated under the same id",
        rules.SESSION_ID,
        Edit(Heartbeat, "_on_failed", "session.id = self._new_id()", "pass"),
    ),
    Mutant(
        "the lease that counts is the shortest of the reader's own",
        rules.LEASE_OF_ROW,
        Edit(LivenessDetector, "_start_watching", "row.lease_ms / 1000", "min(row.lease_ms, 1800) / 1000"),
    ),
    Mutant(
        "the row says a shorter lease than its master counts with",
        rules.LEASE_OF_ROW,
        Edit(
            Timing,
            "lease_ms",
            "return -int(-self.lease_duration * 1000 // 1)",
            "return int(self.lease_duration * 800)",
        ),
    ),
    Mutant(
        "a renewal that changed no row counts as a success",
        rules.EVICTED,
        Edit(
            Heartbeat,
            "_on_renewed",
            "self._on_evicted(session)",
            "session.record_renewal(renew.sent, self._state.now)",
        ),
    ),
    Mutant(
        "a renewal brings an evicted session back",
        rules.EVICTED,
        Edit(
            MemoryStore,
            "renew",
            "return None",
            "row = self._sessions[session_id] = StoredSession(instance, 3000, self._database.clock_ms())",
        ),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a renewal does not increment the beat",
        rules.RENEW,
        Edit(MemoryStore, "renew", "row.beat += 1", "pass"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a renewal does not write the time of the heartbeat",
        rules.RENEW,
        Edit(MemoryStore, "renew", "row.heartbeat_ms = self._database.clock_ms()", "pass"),
        tests=CONTRACT_TESTS,
    ),
    Mutant(
        "a renewal without an answer counts as a success",
        rules.UNKNOWN,
        Edit(
            Heartbeat,
            "_on_failed",
            "session.record_failure(sent, self._state.now, self._state.rng.random())",
            "session.record_renewal(sent, self._state.now)",
        ),
    ),
    Mutant(
        "the terms of an evicted session go on",
        rules.EVICTED,
        Edit(
            Heartbeat,
            "_on_evicted",
            'self._master_role.end_terms_on(session, "its session was evicted")',
            "pass",
        ),
    ),
    Mutant(
        "a session is renewed four times per heartbeat interval",
        rules.COST,
        Edit(
            Session,
            "record_renewal",
            "sent + self.timing.heartbeat_interval",
            "sent + self.timing.heartbeat_interval / 4",
        ),
        unseen="no invariant says what an election costs",
    ),
)
