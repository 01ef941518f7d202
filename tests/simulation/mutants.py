"""Planted bugs: one or more for every rule of the protocol (docs/design.md, section 3).

A sentence says what the bug is; the section says which rule it breaks. ``make mutants`` measures how long the
simulation needs to find each of them, and whether the unit tests find it. `SAMPLE` is in the normal tests.
"""

from masterjob.election.core.candidate import CandidateRole
from masterjob.election.core.commands import SessionCommand
from masterjob.election.core.elector import Elector
from masterjob.election.core.heartbeat import Heartbeat
from masterjob.election.core.liveness import LivenessDetector
from masterjob.election.core.master import MasterRole
from masterjob.election.core.retiming import Retimer
from masterjob.election.core.session import Session
from masterjob.election.core.state import ElectorState
from masterjob.election.runner import ElectionRunner
from masterjob.election.term import LiveTerm
from masterjob.election.timing import Timing
from masterjob.election.values import Inventory
from masterjob.election.workers import ConnectionWorker, ConnectionWorkers
from tests.simulation.memory import MemoryDatabase, MemoryStore
from tests.simulation.planting import Edit, Mutant

TRUST_COUNTS_FROM_THE_SENDING = (
    Mutant(
        # The timeout of an attempt bounds how late a reply can be and would hide this bug, so it is raised too.
        "trust counts from the reply of a renewal",
        "3, rule 2",
        Edit(Session, "record_renewal", "sent + self.timing.trust_duration", "now + self.timing.trust_duration"),
        Edit(Session, "record_renewal", "sent + self.timing.lease_duration", "now + self.timing.lease_duration"),
        Edit(
            Session,
            "attempt_timeout",
            "return min(share, self.timing.heartbeat_interval)",
            "return self.timing.trust_duration",
        ),
    ),
    Mutant(
        "trust counts from the reply when a session is opened",
        "3, rule 2",
        Edit(Heartbeat, "_on_opened", "record_renewal(sent,", "record_renewal(self._state.now,"),
    ),
    Mutant(
        "the late answer of a command that was given up is obeyed",
        "3.2 unknown outcomes",
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
        "events are handled before the clock is considered",
        "3.4 never resumed",
        Edit(Elector, "handle", "self._heartbeat.advance()", "pass"),
    ),
)

STOP_THEN_RELEASE = (
    Mutant(
        "a lock is released before its stop has returned",
        "3, rule 3",
        Edit(
            MasterRole,
            "end_term",
            "self._state.emit(StopJob(phase.term, reason))",
            "self._state.emit(StopJob(phase.term, reason)); self.on_job_event(JobStopped(phase.term))",
        ),
    ),
    Mutant(
        "a lock whose session ended is competed for again before its stop has returned",
        "3, rule 3",
        Edit(
            MasterRole,
            "end_terms_on",
            "self.end_term(self._state.locks[name], reason)",
            "self.end_term(self._state.locks[name], reason); "
            "self._state.set_phase(self._state.locks[name], Waiting(self._state.now))",
        ),
    ),
    Mutant(
        "a disable clears the holder of a live master",
        "3, rule 3",
        Edit(
            MemoryDatabase,
            "_set_enabled",
            "self.notify_listeners([lock_name])",
            "self.tables.locks[lock_name].holder = self.tables.locks[lock_name].holder if enabled else None\n"
            "    self.notify_listeners([lock_name])",
        ),
    ),
    Mutant(
        "a request to step down clears the holder",
        "3, rule 3",
        Edit(MemoryStore, "request_step_down", "row.step_down_term = term.number", "row.holder = None"),
    ),
    Mutant(
        "a session that a running job depends on is closed when no lock has its timing",
        "3, rule 3",
        Edit(
            Heartbeat,
            "advance",
            "not state.demand[session.timing] and not session.locks",
            "not state.demand[session.timing]",
        ),
    ),
)

TABLES = (
    Mutant(
        "a session id is used again after an eviction",
        "3.1 session",
        Edit(Heartbeat, "advance", "self._new_id()", 'f"{state.identity.instance} {timing}"'),
    ),
    Mutant(
        "an opening without an answer is repeated under the same id",
        "3.1 session",
        Edit(Heartbeat, "_on_failed", "session.id = self._new_id()", "pass"),
    ),
    Mutant(
        "the lease that counts is the shortest of the reader's own",
        "3.1 session",
        Edit(LivenessDetector, "_start_watching", "row.lease_ms / 1000", "min(row.lease_ms, 1800) / 1000"),
    ),
    Mutant(
        "the row says a shorter lease than its master counts with",
        "3.1 session",
        Edit(
            Timing,
            "lease_ms",
            "return -int(-self.lease_duration * 1000 // 1)",
            "return int(self.lease_duration * 800)",
        ),
    ),
    Mutant(
        "an eviction leaves its locks to the dead session",
        "3.1 lock",
        Edit(MemoryStore, "_delete", "self._locks[term.lock_name].holder = None", "pass"),
    ),
    Mutant(
        "a claim ignores that the lock is disabled",
        "3.1 enabled",
        Edit(MemoryStore, "claim", "row.enabled and row.holder is None", "row.holder is None"),
    ),
    Mutant(
        "a disable is not shown to the master",
        "3.1 enabled",
        Edit(MemoryStore, "read_inventory", "if not row.enabled or row.step_down", "if row.step_down"),
    ),
    Mutant(
        "a step-down that was requested of an earlier term is shown to every later one",
        "3.1 step_down_term",
        Edit(
            MemoryStore,
            "claim",
            "row.holder, row.term, row.step_down_term = session_id, self.next_term(row.term), None",
            "row.holder, row.term = session_id, self.next_term(row.term)",
        ),
        Edit(MemoryStore, "read_inventory", "row.step_down_term == row.term", "row.step_down_term is not None"),
    ),
    Mutant(
        "a stop request for an earlier term ends the term that is held now",
        "3.1 step_down_term",
        Edit(
            MasterRole,
            "check_inventory",
            "state.held_lock(request.term)",
            "state.locks.get(request.term.lock_name)",
        ),
    ),
)

RENEW = (
    Mutant(
        "a renewal that changed no row counts as a success",
        "3.2 renew",
        Edit(
            Heartbeat,
            "_on_renewed",
            "self._on_evicted(session)",
            "session.record_renewal(renew.sent, self._state.now)",
        ),
    ),
    Mutant(
        "a renewal brings an evicted session back",
        "3.2 renew",
        Edit(
            MemoryStore,
            "renew",
            "return None",
            "row = self._sessions[session_id] = StoredSession(instance, 3000, self._database.clock_ms())",
        ),
    ),
    Mutant(
        "a renewal does not increment the beat", "3.2 renew", Edit(MemoryStore, "renew", "row.beat += 1", "pass")
    ),
    Mutant(
        "a renewal does not write the time of the heartbeat",
        "3.2 renew",
        Edit(MemoryStore, "renew", "row.heartbeat_ms = self._database.clock_ms()", "pass"),
    ),
    Mutant(
        "a renewal without an answer counts as a success",
        "3.2 unknown outcomes",
        Edit(
            Heartbeat,
            "_on_failed",
            "session.record_failure(sent, self._state.now, self._state.rng.random())",
            "session.record_renewal(sent, self._state.now)",
        ),
    ),
    Mutant(
        "the terms of an evicted session go on",
        "3.2 renew",
        Edit(
            Heartbeat,
            "_on_evicted",
            'self._master_role.end_terms_on(session, "its session was evicted")',
            "pass",
        ),
    ),
)

INVENTORY = (
    Mutant(
        "the inventory is never found to differ",
        "3.2 inventory",
        Edit(
            Inventory,
            "matches",
            "(self.count, self.term_sum) == (other.count, other.term_sum)",
            "True",
        ),
    ),
    Mutant(
        "the inventory counts the terms and ignores their numbers",
        "3.2 inventory",
        Edit(
            Inventory,
            "matches",
            "(self.count, self.term_sum) == (other.count, other.term_sum)",
            "self.count == other.count",
        ),
    ),
    Mutant(
        "the inventory is not compared with every heartbeat",
        "3.2 inventory",
        Edit(Heartbeat, "_on_renewed", "self._master_role.check_inventory(renew.expected, inventory)", "pass"),
    ),
    Mutant(
        "the inventory is compared with what is held when the answer comes",
        "3.2 inventory",
        Edit(Heartbeat, "_on_renewed", "renew.expected", "self._state.inventory()"),
    ),
    Mutant(
        "what was read before a claim ends its term",
        "3.2 inventory",
        Edit(MasterRole, "_reconcile", "if lock.changed_at < sent and (name", "if (name"),
    ),
    Mutant(
        "a claim in flight is taken for an orphan",
        "3.2 inventory",
        Edit(
            MasterRole,
            "_reconcile",
            "(isinstance(lock.phase, Waiting) and lock.changed_at < sent)",
            "name not in self._state.held_terms",
        ),
    ),
    Mutant(
        "a term that is held and not run is adopted",
        "3.2 inventory",
        Edit(
            MasterRole,
            "_reconcile",
            "self._orphan_terms.add(row.term)",
            "any(self.serve(lock, row.term, each) for each in self._state.sessions.values() "
            "if lock is not None and each.id == row.session_id)",
        ),
    ),
    Mutant(
        "a term that is held and not run is not released",
        "3.2 inventory",
        Edit(MasterRole, "_reconcile", "self._orphan_terms.add(row.term)", "pass"),
    ),
    Mutant(
        "a term that is run and not held is not stopped",
        "3.2 inventory",
        Edit(MasterRole, "_reconcile", 'self.end_term(lock, "the database no longer names it master")', "pass"),
    ),
    Mutant(
        "an orphan whose release is on its way is served",
        "3.2 inventory",
        Edit(CandidateRole, "_on_claimed", "if not self._master_role.is_orphan(term)", "if True"),
    ),
    Mutant(
        "rows that a promoted replica lost are not written again",
        "3.2 inventory",
        Edit(MasterRole, "_reconcile", "self._state.missing_rows.append(name)", "pass"),
        Edit(CandidateRole, "_on_vacancies", "state.missing_rows = list(state.locks)", "pass"),
    ),
)

CLAIM = (
    Mutant(
        "a claim takes a lock that another session holds",
        "3.2 claim",
        Edit(MemoryStore, "claim", "row.enabled and row.holder is None", "row.enabled"),
    ),
    Mutant(
        "a new term is the last one plus one",
        "3.2 claim",
        Edit(MemoryStore, "next_term", "max(last + 1, self._database.clock_ms())", "last + 1"),
    ),
    Mutant(
        "a new term is the database's time",
        "3.2 claim",
        Edit(
            MemoryStore,
            "next_term",
            "max(last + 1, self._database.clock_ms())",
            "self._database.clock_ms()",
        ),
    ),
    Mutant(
        "a session that was evicted is granted a claim",
        "3.2 claim",
        Edit(MemoryStore, "claim", "if session_id not in self._sessions:", "if False:"),
    ),
    Mutant(
        "the answer of a claim lists what it asked for and not what is held",
        "3.2 claim",
        Edit(MemoryStore, "claim", "in self._locks and self._locks[name].holder == session_id", "in self._locks"),
    ),
    Mutant(
        "a granted term starts without another look at the trust",
        "3.2 claim",
        Edit(CandidateRole, "is_still_trusted", "session.trust_left(self._state.now) > 0", "True"),
    ),
    Mutant(
        "a lock is claimed with hardly any trust left",
        "3.4 claim",
        Edit(Session, "can_claim", ">= self.timing.heartbeat_interval", "> 0"),
    ),
)

MOVE = (
    Mutant(
        "a term that moves depends on its new session alone",
        "3.2 move",
        Edit(Retimer, "_send_move", "(old, session), phase.since, move", "(session,), phase.since, move"),
    ),
    Mutant(
        "a term that moves has the larger trust of its two sessions",
        "3.2 move",
        Edit(Elector, "trusted_until", "return min(", "return max("),
        is_simulated=False,
    ),
    Mutant(
        "a job whose term moves has the longer of both stop timeouts",
        "3.2 move",
        Edit(Retimer, "_send_move", "min(old.timing.stop_timeout", "max(old.timing.stop_timeout"),
    ),
    Mutant(
        "a move does not name its term",
        "3.2 move",
        Edit(MemoryStore, "move", "if row is None or row.term != term.number:", "if row is None:"),
    ),
    Mutant(
        "a move takes the lock from whoever holds it now",
        "3.2 move",
        Edit(MemoryStore, "move", "row.holder == from_session_id and to_session_id in", "to_session_id in"),
    ),
    Mutant(
        "a move goes to a session that was evicted",
        "3.2 move",
        Edit(
            MemoryStore,
            "move",
            "row.holder == from_session_id and to_session_id in self._sessions",
            "row.holder == from_session_id",
        ),
    ),
    Mutant(
        "a move without an answer counts as done",
        "3.2 move",
        Edit(Retimer, "_on_move_failed", "lock.phase.sessions, lock", "lock.phase.sessions[-1:], lock"),
    ),
    Mutant(
        "a move counts as done whatever the database answers",
        "3.2 move",
        Edit(
            Retimer,
            "_on_moved",
            "next((session for session in phase.sessions if session.id == holder), None)",
            "phase.sessions[-1]",
        ),
    ),
    Mutant(
        "a term returns to a session that an unanswered move may still leave",
        "3.2 move",
        Edit(
            Retimer,
            "_target_session",
            "session is not None and session.id in lock.unconfirmed_sources",
            "False",
        ),
    ),
    Mutant(
        "a term moves to a session with hardly any trust",
        "3.4 claim",
        Edit(
            Retimer,
            "_target_session",
            "session if session is not None and session.can_claim(self._state.now) else None",
            "session",
        ),
    ),
)

RELEASE = (
    Mutant(
        "a release does not name its term",
        "3.2 release",
        Edit(
            MemoryStore,
            "release",
            "row.holder in session_ids and row.term == term.number",
            "row.holder in session_ids",
        ),
    ),
    Mutant(
        "a release without an answer counts as done",
        "3.2 unknown outcomes",
        Edit(
            MasterRole,
            "_on_release_failed",
            "now = self._state.now",
            "now = 0.0; return self._on_released(release)",
        ),
    ),
)

DEAD_SESSIONS = (
    Mutant(
        "an eviction does not name the beat that was seen",
        "3.2 evict",
        Edit(MemoryStore, "evict", "if row is None or row.beat != beat:", "if row is None:"),
    ),
    Mutant(
        "an eviction skips the database's own test",
        "3.3 a",
        Edit(MemoryStore, "evict", "if if_stale and", "if False and"),
    ),
    Mutant(
        "an eviction goes by the database's clock alone",
        "3.3 a",
        Edit(LivenessDetector, "_guaranteed_age", "if (\n", "return row.age_ms / 1000\n    if (\n"),
    ),
    Mutant(
        "a new candidate believes the ages of a clock that it does not know",
        "3.3 a",
        Edit(
            LivenessDetector,
            "_guaranteed_age",
            "if (\n",
            "if self._last_observation is None:\n        return max(0.0, row.age_ms / 1000)\n    if (\n",
        ),
    ),
    Mutant(
        "a candidate that was paused believes the ages of a clock that it has not watched",
        "3.3 a",
        Edit(
            LivenessDetector,
            "_guaranteed_age",
            "observation.received - self._last_observation.sent > row.lease_ms / 1000",
            "False",
        ),
    ),
    Mutant(
        "what the database's clock can have gained is not taken from an age",
        "3.3 a",
        Edit(LivenessDetector, "_guaranteed_age", "row.age_ms / 1000 - gain", "row.age_ms / 1000"),
    ),
    Mutant(
        "an age is believed though the database's clock has stepped",
        "3.3 a",
        Edit(
            LivenessDetector,
            "_guaranteed_age",
            "0.0 if gain is None else max(0.0, row.age_ms / 1000 - gain)",
            "max(0.0, row.age_ms / 1000 - (gain or 0.0))",
        ),
    ),
    Mutant(
        "a look at the sessions counts from its sending",
        "3.3 a and b",
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
        "3.3 b",
        Edit(LivenessDetector, "_start_watching", "STANDSTILL_LEASES * lease", "0.9 * lease"),
    ),
    Mutant(
        "a new candidate evicts after half a lease",
        "3.3 b",
        Edit(
            LivenessDetector,
            "_start_watching",
            "STANDSTILL_LEASES * lease",
            "(0.5 if self._last_observation is None else STANDSTILL_LEASES) * lease",
        ),
    ),
    Mutant(
        "a session that stands still is evicted only if the database's clock agrees",
        "3.3 b",
        Edit(LivenessDetector, "suspects", "if_stale=False", "if_stale=True"),
    ),
    Mutant(
        "a session is suspected although its beat has changed",
        "3.3 a and b",
        Edit(
            LivenessDetector,
            "_keep_if_unchanged",
            "watched is None or watched.row.beat != row.beat",
            "watched is None",
        ),
    ),
)

TRUST_AND_RETRIES = (
    Mutant(
        "there is no margin",
        "3.4 margin",
        Edit(Timing, "margin", "return self.stop_timeout + CLOCK_DRIFT * self.lease_duration", "return 0.0"),
    ),
    Mutant(
        "the margin counts at most a fifth of a second of the stop timeout",
        "3.4 margin",
        Edit(Timing, "margin", "return self.stop_timeout", "return min(0.2, self.stop_timeout)"),
    ),
    Mutant(
        "the margin has no reserve for clocks of different speeds",
        "3.4 margin",
        Edit(Timing, "margin", "self.stop_timeout + CLOCK_DRIFT * self.lease_duration", "self.stop_timeout"),
    ),
    Mutant(
        "trust lasts half a second longer than the lease",
        "3.4 margin",
        Edit(Timing, "trust_duration", "self.lease_duration - self.margin", "self.lease_duration + 0.5"),
    ),
    Mutant(
        "a timing that allows no late heartbeat is accepted",
        "3.4 required",
        Edit(Timing, "__post_init__", "2 * self.heartbeat_interval - 1e-9", "self.heartbeat_interval"),
        is_simulated=False,
    ),
    Mutant(
        "jobs go on when their trust ends",
        "3.4 stop",
        Edit(Heartbeat, "_end_trust", "self._master_role.end_terms_on(session, reason)", "pass"),
    ),
    Mutant(
        "the end of a trust stops one job only",
        "3.4 stop",
        Edit(MasterRole, "end_terms_on", "sorted(session.locks)", "sorted(session.locks)[:1]"),
    ),
    Mutant(
        "nothing wakes the elector at the end of a trust",
        "3.4 stop",
        Edit(
            Heartbeat,
            "next_tick_at",
            "times += [session.next_expiry() for session in state.all_sessions()]",
            "times += []",
        ),
    ),
    Mutant(
        "a term that was given up is resumed by the next renewal",
        "3.4 never resumed",
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
    Mutant(
        "the retries of a heartbeat are never used up",
        "3.4 retries",
        Edit(Session, "retries_exhausted", "self.failures > self.timing.max_heartbeat_retry_count", "False"),
    ),
    Mutant(
        "the first heartbeat that fails ends the terms",
        "3.4 retries",
        Edit(Session, "retries_exhausted", "> self.timing.max_heartbeat_retry_count", "> 0"),
    ),
    Mutant(
        "one attempt may take all the trust that is left",
        "3.4 retries",
        Edit(
            Session,
            "attempt_timeout",
            "return min(share, self.timing.heartbeat_interval)",
            "return self.trust_left(now) or share",
        ),
    ),
    Mutant(
        "the stop of an evicted master may take the rest of its lease",
        "3.4 lostPolicy",
        Edit(
            Heartbeat,
            "_on_evicted",
            "min(session.expires_at, self._state.now + session.timing.stop_timeout)",
            "session.expires_at",
        ),
    ),
    Mutant(
        "a stop that outlives its lease is not reported",
        "3.4 lostPolicy",
        Edit(
            MasterRole,
            "report_overruns",
            "self._state.emit(Overrun(lock.phase.term, lock.lost_policy))",
            "pass",
        ),
    ),
    Mutant(
        "there is no deadline for jobs whose lost policy is exit",
        "3.4 lostPolicy",
        Edit(Elector, "exit_deadline", "return min(", "return NEVER or min("),
        is_simulated=False,
    ),
    Mutant(
        "heartbeats share the connection of all other commands",
        "3.4 hung call",
        Edit(SessionCommand, "connection_name", "return self.connection.name", "return CONTROL_CONNECTION"),
        is_simulated=False,
    ),
    Mutant(
        "a command without an answer is not abandoned",
        "3.4 hung call",
        Edit(ElectorState, "time_out_commands", "self.emit(Abandon(command))", "pass"),
    ),
)

NOTIFICATIONS = (
    Mutant(
        "without a notification no instance looks for free locks",
        "3.5 hint",
        Edit(
            CandidateRole,
            "_scan",
            "state.now + min(timing.check_master_interval for timing in state.demand)",
            "NEVER",
        ),
    ),
    Mutant(
        "an instance claims more than its fair share at once",
        "3.5 fair share",
        Edit(CandidateRole, "_on_vacancies", "if not (is_alone or ignore_fair_share):", "if False:"),
    ),
    Mutant(
        "what an instance holds does not count towards its fair share",
        "3.5 fair share",
        Edit(CandidateRole, "_on_vacancies", "fair_share - len(state.held_terms)", "fair_share"),
    ),
    Mutant(
        "what exceeds the fair shares is never claimed",
        "3.5 fair share",
        Edit(
            CandidateRole,
            "_on_vacancies",
            "state.now + OPEN_CLAIM_DELAY if len(free) > open_share else NEVER",
            "NEVER",
        ),
    ),
)

FENCING = (
    Mutant(
        "the guard lets every term write",
        "3.6 guard",
        Edit(
            MemoryStore,
            "can_commit",
            "row is not None and row.term == term.number and row.holder is not None",
            "True",
        ),
    ),
    Mutant(
        "the guard lets a term write while another is held",
        "3.6 guard",
        Edit(
            MemoryStore,
            "can_commit",
            "row is not None and row.term == term.number and row.holder is not None",
            "row is not None and row.holder is not None",
        ),
    ),
    Mutant(
        "the guard lets a term write whose lock was freed",
        "3.6 guard",
        Edit(MemoryStore, "can_commit", "row.holder is not None", "True"),
    ),
)

THREADS = (
    Mutant(
        "the elector's thread executes the statements itself",
        "3.4 hung call",
        Edit(
            ConnectionWorkers,
            "submit",
            "worker.enqueue(command)",
            "self._on_outcome(_execute(command, worker._store))",
        ),
        is_simulated=False,
    ),
    Mutant(
        "the call of an abandoned command goes on",
        "3.4 hung call",
        Edit(ConnectionWorker, "cancel", "self._store.abort()", "pass"),
        is_simulated=False,
    ),
    Mutant(
        "the watchdog does not know the end of the trust",
        "3.4 watchdog",
        Edit(ElectionRunner, "_handle", "self._trust_watchdog.set_deadline(self._elector.next_expiry())", "pass"),
        is_simulated=False,
    ),
    Mutant(
        "the watchdog that ends the process is never armed",
        "3.4 lostPolicy",
        Edit(ElectionRunner, "_handle", "self._exit_watchdog.set_deadline(self._elector.exit_deadline())", "pass"),
        is_simulated=False,
    ),
    Mutant(
        "a job is told that its term is lost only when it is stopped",
        "3.6 raise_if_lost",
        Edit(LiveTerm, "trust_left", "max(0.0, self._trust_left())", "1.0"),
        is_simulated=False,
    ),
    Mutant(
        "the guard of a term checks nothing",
        "3.6 guard",
        Edit(LiveTerm, "guard", "self._fence(connection, self._term)", "pass"),
        is_simulated=False,
    ),
)

MUTANTS: tuple[Mutant, ...] = (
    *TRUST_COUNTS_FROM_THE_SENDING, *STOP_THEN_RELEASE, *TABLES, *RENEW, *INVENTORY, *CLAIM, *MOVE, *RELEASE,
    *DEAD_SESSIONS, *TRUST_AND_RETRIES, *NOTIFICATIONS, *FENCING, *THREADS,
)  # fmt: skip

MUTANT_BY_NAME = {mutant.name: mutant for mutant in MUTANTS}

_SAMPLE_SENTENCES = (
    "trust counts from the reply of a renewal",
    "a lock is released before its stop has returned",
    "a look at the sessions counts from its sending",
    "a new term is the last one plus one",
    "a disable is not shown to the master",
    "the inventory is never found to differ",
)

SAMPLE: tuple[Mutant, ...] = tuple(mutant for mutant in MUTANTS if mutant.sentence in _SAMPLE_SENTENCES)
"""Bugs that break different rules and invariants. The normal tests show that the simulator finds each of them."""
