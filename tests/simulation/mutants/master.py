"""Planted bugs of the end of a term: stop, then release."""

from masterjob.election.core.heartbeat import Heartbeat
from masterjob.election.core.master import MasterRole
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import Edit, Mutant

MUTANTS = (
    Mutant(
        "a lock is released before its stop has returned",
        rules.STOP_FIRST,
        Edit(
            MasterRole,
            "end_term",
            "self._state.emit(StopJob(phase.term, reason, is_lost))",
            "self._state.emit(StopJob(phase.term, reason, is_lost)); self.on_job_event(JobStopped(phase.term))",
        ),
    ),
    Mutant(
        "a lock whose session ended is competed for again before its stop has returned",
        rules.STOP_FIRST,
        Edit(
            MasterRole,
            "end_terms_on",
            "self.end_term(self._state.locks[name], reason, is_lost=True)",
            "self.end_term(self._state.locks[name], reason, is_lost=True); "
            "self._state.set_phase(self._state.locks[name], Waiting(self._state.now))",
        ),
    ),
    Mutant(
        "a session that a running job depends on is closed when no lock has its timing",
        rules.STOP_FIRST,
        Edit(
            Heartbeat,
            "advance",
            "not state.demand[session.timing] and not session.locks",
            "not state.demand[session.timing]",
        ),
    ),
    Mutant(
        "a release without an answer counts as done",
        rules.UNKNOWN,
        Edit(
            MasterRole,
            "_on_release_failed",
            "self._retry_batches.extend(halves(release.terms))",
            "return self._on_released(release)",
        ),
        unseen="the next inventory shows the lock, and it is released then, in the promised time",
    ),
    Mutant(
        "the stop of an evicted master may take the rest of its lease",
        rules.OVERRUN,
        Edit(
            Heartbeat,
            "_on_evicted",
            "min(session.expires_at, self._state.now + session.timing.stop_timeout)",
            "session.expires_at",
        ),
    ),
    Mutant(
        "a stop that outlives its lease is not reported",
        rules.OVERRUN,
        Edit(
            MasterRole,
            "report_overruns",
            "self._state.emit(Overrun(lock.phase.term, lock.lost_policy))",
            "pass",
        ),
    ),
)
