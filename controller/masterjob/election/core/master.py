"""State two: serve until there is a reason not to, then stop the job, then release the lock.

The order of the last two is the rule that most elections break: a lock is never given back before the
job's ``stop`` has returned (design 3, rule 3). And nothing that was read is believed over something that was
done since (design 3.2, renew).
"""

from collections import deque

from masterjob.election.core.actions import Overrun, SetStopTimeout, StartJob, StopJob
from masterjob.election.core.commands import RETRY_DELAY, ReadHeldTerms, ReadInventory, Release
from masterjob.election.core.events import JobStartFailed
from masterjob.election.core.session import LONG_AGO, NEVER, Session, SessionPhase
from masterjob.election.core.state import ElectorState, HeldPhase, Lock, Releasing, Serving, Stopping, Waiting
from masterjob.election.values import HeldTerm, Inventory, Term, TransitionKind

MAX_START_BACKOFF = 300.0
"""Seconds that a lock whose ``start`` keeps failing here sits out at most."""


class MasterRole:
    """The terms of this instance."""

    def __init__(self, state: ElectorState) -> None:
        self._state = state
        self._orphan_terms: set[Term] = set()
        self._retry_at = LONG_AGO
        self._retry_batches: deque[tuple[Term, ...]] = deque()
        """Terms whose release got no answer, in groups that are asked for in turn."""
        self._inventory_outdated = False

    def is_orphan(self, term: Term) -> bool:
        """Whether the term is to be given back unserved: its release may be on its way already."""
        return term in self._orphan_terms

    # --- serving ---

    def serve(self, lock: Lock, term: Term, session: Session) -> None:
        """Begin the term: start the job."""
        self._state.set_phase(lock, Serving(term, (session,), self._state.now))
        lock.unconfirmed_sources.clear()
        self._state.locks_to_retime.add(lock.name)  # its timing may have changed while the claim was on its way
        lock.explanation = f"master since term {term.number}"
        self._state.emit(SetStopTimeout(term, session.timing.stop_timeout))
        self._state.emit(StartJob(term))
        self._state.record(
            TransitionKind.ELECTED, term, f"{self._state.identity.instance} became master of {lock.name}"
        )

    def on_started(self, term: Term) -> None:
        """The job runs: whatever failed before is forgotten."""
        if lock := self._lock_for(term):
            lock.failed_starts = 0

    def on_start_failed(self, event: JobStartFailed) -> None:
        """Give the lock to others, and sit out longer each time."""
        lock = self._lock_for(event.term)
        if lock is None or not isinstance(lock.phase, Serving):
            return
        if self._state.now - lock.phase.since >= MAX_START_BACKOFF:
            # It had worked: a start that stays for the whole term has no other way to say so.
            lock.failed_starts = 0
        backoff = min(MAX_START_BACKOFF, lock.timing.heartbeat_interval * 2.0**lock.failed_starts)
        lock.failed_starts = min(lock.failed_starts + 1, 30)
        self._state.record(TransitionKind.START_FAILED, event.term, f"start of {lock.name} failed: {event.error}")
        self.end_term(lock, f"start failed: {event.error}", backoff)

    def check_inventory(self, expected: Inventory, actual: Inventory) -> None:
        """Obey the flags, and look closer where the database holds something else for us than we believed."""
        for stop_request in actual.stop_requests:
            if lock := self._lock_for(stop_request.term):
                self.end_term(
                    lock, stop_request.reason, lock.timing.heartbeat_interval if stop_request.is_step_down else 0.0
                )
        if not actual.matches(expected) and not self._state.is_in_flight(ReadHeldTerms):
            self._state.send(ReadHeldTerms(self._state.now, self._state.identity.instance))

    def reconcile(self, command: ReadHeldTerms, held_terms: tuple[HeldTerm, ...]) -> None:
        """Adopt nothing, release what is not run, stop what is not held."""
        rows = {row.term.lock_name: row for row in held_terms}
        for name, row in rows.items():
            lock = self._state.locks.get(name)
            if lock is None or (isinstance(lock.phase, Waiting) and lock.changed_at < command.sent):
                self._orphan_terms.add(row.term)
        for name, term in list(self._state.held_terms.items()):
            lock = self._state.locks[name]
            if lock.changed_at < command.sent and (name not in rows or rows[name].term != term):
                self._state.missing_rows.append(name)  # the row itself may be lost
                self.end_term(lock, "the database no longer names it master")

    def on_change(self, lock_names: frozenset[str] | None) -> None:
        """Somebody changed something: ask now rather than with the next heartbeat."""
        if self._state.held_terms and (lock_names is None or not lock_names.isdisjoint(self._state.held_terms)):
            if self._state.is_in_flight(ReadInventory):
                self._inventory_outdated = True
            else:
                self._request_inventory()

    def on_inventory(self, command: ReadInventory, actual: Inventory) -> None:
        """Judge an inventory read between two heartbeats."""
        self.check_inventory(command.expected, actual)
        self.finish_inventory()

    def finish_inventory(self) -> None:
        """Ask again if there was another wake-up meanwhile; else the next heartbeat will tell."""
        if self._inventory_outdated:
            self._inventory_outdated = False
            self._request_inventory()

    def _request_inventory(self) -> None:
        state = self._state
        state.send(ReadInventory(state.now, state.identity.instance, state.inventory()))

    # --- ending ---

    def end_term(self, lock: Lock, reason: str, cooldown: float = 0.0) -> None:
        """Tell the job to stop; from here the term can only end. ``cooldown`` seconds are not competed in."""
        if isinstance(lock.phase, Serving):
            lock.explanation = f"stopping: {reason}"
            phase = lock.phase
            self._state.set_phase(lock, Stopping(phase.term, phase.sessions, reason, self._state.now + cooldown))
            self._state.emit(StopJob(phase.term, reason))

    def end_terms_on(self, session: Session, reason: str) -> None:
        """End every term that stands on this lease."""
        for name in sorted(session.locks):
            self.end_term(self._state.locks[name], reason)

    def on_stopped(self, term: Term) -> None:
        """The job has stopped: only now the lock may be given back."""
        lock = self._lock_for(term)
        match lock.phase if lock else None:
            case Stopping(sessions=sessions, reason=reason, ready_at=ready_at):
                self.begin_release(term, Releasing(term, sessions, reason, ready_at))
            case Serving(sessions=sessions):
                reason = "its trust ended before the job was started"
                self.begin_release(term, Releasing(term, sessions, reason, self._state.now))

    def begin_release(self, term: Term, phase: Releasing) -> None:
        """Release a lock on which nothing runs."""
        lock = self._state.locks[term.lock_name]
        lock.explanation = f"releasing: {phase.reason}"
        self._state.set_phase(lock, phase)

    def report_overruns(self, session: Session) -> None:
        """The lease is over: name the jobs that have not stopped by now."""
        for name in sorted(session.locks):
            lock = self._state.locks[name]
            if isinstance(lock.phase, Serving | Stopping):
                term = lock.phase.term
                self._state.emit(Overrun(term, lock.lost_policy))
                self._state.record(
                    TransitionKind.OVERRUN, term, f"stop of {name} has not returned by the end of its lease"
                )

    # --- releasing ---

    def advance(self) -> None:
        """Send what is due to be released."""
        for name, phase in list(self._state.releasing.items()) if self._state.retired else ():
            if all(session.is_retired for session in phase.sessions):
                self._finish_release(name)
        if self._state.now >= self._retry_at and not self._state.is_in_flight(Release):
            self._send_release()

    def next_tick_at(self) -> float:
        """When to try again what got no answer."""
        return self._retry_at if self._retry_at > self._state.now else NEVER

    def _send_release(self) -> None:
        """Release all there is with one statement, and after that one group of those that got no answer."""
        state = self._state
        due = {*(phase.term for phase in state.releasing.values()), *self._orphan_terms}
        while self._retry_batches and due.isdisjoint(self._retry_batches[0]):
            self._retry_batches.popleft()
        terms = due.difference(*self._retry_batches)
        if not terms and self._retry_batches:
            terms = due.intersection(self._retry_batches.popleft())
        if not terms:
            return
        for term in terms:
            if lock := self._lock_for(term):
                lock.changed_at = state.now
        ids = {session.id for session in state.all_sessions()}
        state.send(Release(state.now, tuple(sorted(ids)), tuple(sorted(terms))))

    def on_released(self, command: Release) -> None:
        """The locks are free; say so and stand again."""
        self._orphan_terms.difference_update(command.terms)
        for name, number in ((term.lock_name, term.number) for term in command.terms):
            if name in self._state.releasing and self._state.releasing[name].term.number == number:
                self._finish_release(name)

    def _finish_release(self, name: str) -> None:
        lock, phase = self._state.locks[name], self._state.releasing[name]
        lock.changed_at = self._state.now
        lock.explanation = f"stepped down: {phase.reason}"
        self._state.record(
            TransitionKind.STEPPED_DOWN,
            phase.term,
            f"{self._state.identity.instance} stepped down from {lock.name}: {phase.reason}",
        )
        self._state.set_phase(lock, Waiting(phase.ready_at))

    def on_release_failed(self, command: Release) -> None:
        """It may be asked again, in two halves: one row that somebody else has locked must not hold up the others.

        One alone waits as long as its attempt took, so that our claims are not held up all the time.
        """
        half = (len(command.terms) + 1) // 2
        self._retry_batches.extend(group for group in (command.terms[:half], command.terms[half:]) if group)
        is_single = len(command.terms) == 1
        self._retry_at = self._state.now + (
            max(RETRY_DELAY, self._state.now - command.sent) if is_single else RETRY_DELAY
        )
        for term in command.terms:
            if lock := self._lock_for(term):
                lock.changed_at = self._state.now

    # --- looking up ---

    def trusted_until(self, term: Term) -> float:
        """How long the term may be believed in; in the past where it is not served any more."""
        lock = self._lock_for(term)
        if lock is None or not isinstance(lock.phase, Serving):
            return LONG_AGO
        return min(
            LONG_AGO if session.is_retired or session.phase is not SessionPhase.TRUSTED else session.trusted_until
            for session in lock.phase.sessions
        )

    def _lock_for(self, term: Term) -> Lock | None:
        lock = self._state.locks.get(term.lock_name)
        return lock if lock is not None and isinstance(lock.phase, HeldPhase) and lock.phase.term == term else None
