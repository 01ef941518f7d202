"""Planted bugs of the trust: how long it lasts, when it ends, and how a heartbeat is retried."""

from masterjob.election.core.elector import Elector
from masterjob.election.core.heartbeat import Heartbeat
from masterjob.election.core.master import MasterRole
from masterjob.election.core.session import Session
from masterjob.election.timing import Timing
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import Edit, Mutant

MUTANTS = (
    Mutant(
        # The timeout of an attempt bounds how late a reply can be and would hide this bug, so it is raised too.
        "trust counts from the reply of a renewal",
        rules.SENDING,
        Edit(Session, "record_renewal", "sent + self.timing.trust_duration", "now + self.timing.trust_duration"),
        Edit(Session, "record_renewal", "sent + self.timing.lease_duration", "now + self.timing.lease_duration"),
        Edit(
            Session,
            "attempt_timeout",
            "if trust_left <= 0:\n        return heartbeat_interval",
            "if True:\n        return self.timing.trust_duration",
        ),
    ),
    Mutant(
        "trust counts from the reply when a session is opened",
        rules.SENDING,
        Edit(Heartbeat, "_on_opened", "record_renewal(sent,", "record_renewal(self._state.now,"),
    ),
    Mutant(
        "events are handled before the clock is considered",
        rules.NEVER_RESUMED,
        Edit(Elector, "handle", "self._heartbeat.advance()", "pass"),
    ),
    Mutant(
        "a lock is claimed with hardly any trust left",
        rules.CLAIM_TRUST,
        Edit(Session, "can_claim", ">= self.timing.heartbeat_interval", "> 0"),
    ),
    Mutant(
        "there is no margin",
        rules.MARGIN,
        Edit(Timing, "margin", "return self.stop_timeout + CLOCK_DRIFT * self.lease_duration", "return 0.0"),
    ),
    Mutant(
        "the margin counts at most a fifth of a second of the stop timeout",
        rules.MARGIN,
        Edit(Timing, "margin", "return self.stop_timeout", "return min(0.2, self.stop_timeout)"),
    ),
    Mutant(
        "the margin has no reserve for clocks of different speeds",
        rules.MARGIN,
        Edit(Timing, "margin", "self.stop_timeout + CLOCK_DRIFT * self.lease_duration", "self.stop_timeout"),
    ),
    Mutant(
        "trust lasts half a second longer than the lease",
        rules.MARGIN,
        Edit(Timing, "trust_duration", "self.lease_duration - self.margin", "self.lease_duration + 0.5"),
    ),
    Mutant(
        "a timing that allows no late heartbeat is accepted",
        rules.REQUIRED,
        Edit(Timing, "__post_init__", "2 * self.heartbeat_interval - 1e-9", "self.heartbeat_interval"),
        unseen="no such timing is drawn",
    ),
    Mutant(
        "jobs go on when their trust ends",
        rules.TRUST_ENDS,
        Edit(
            Heartbeat,
            "_expire",
            'self._master_role.end_terms_on(session, f"no heartbeat was confirmed for {silence}")',
            "pass",
        ),
    ),
    Mutant(
        "the end of a trust stops one job only",
        rules.TRUST_ENDS,
        Edit(MasterRole, "end_terms_on", "sorted(session.locks)", "sorted(session.locks)[:1]"),
    ),
    Mutant(
        "nothing wakes the elector at the end of a trust",
        rules.TRUST_ENDS,
        Edit(
            Heartbeat,
            "next_tick_at",
            "times += [session.next_expiry() for session in state.all_sessions()]",
            "times += []",
        ),
    ),
    Mutant(
        "a term that was given up is resumed by the next renewal",
        rules.NEVER_RESUMED,
        Edit(
            MasterRole,
            "check_inventory",
            "state = self._state\n",
            "state = self._state\n"
            "    for lock in list(state.locks.values()):\n"
            "        if isinstance(lock.phase, Stopping) and lock.phase.sessions[0].is_trusted:\n"
            "            state.set_phase(lock, Serving(lock.phase.term, lock.phase.sessions, state.now))\n",
        ),
    ),
)
