"""State two: run the job until there is a reason not to, then stop it, then release the lock.

A lock is never released before the job's ``stop`` has returned. What was read from the database never overrides
what was done since.
"""

from collections import deque
from collections.abc import Iterable

from masterjob.concurrency.backoff import Backoff
from masterjob.election.core.actions import Overrun, SetStopTimeout, StartJob, StopJob
from masterjob.election.core.batches import halves
from masterjob.election.core.commands import RETRY_DELAY, ReadHeldTerms, ReadInventory, Release
from masterjob.election.core.events import JobRunChanged, JobStarted, JobStartFailed, JobStopped
from masterjob.election.core.run_history import record_run, record_start_failure, record_stop
from masterjob.election.core.session import LONG_AGO, NEVER, Session
from masterjob.election.core.state import ElectorState, Lock, Releasing, Serving, Stopping, Waiting
from masterjob.election.values import HeldTerm, Incarnation, Inventory, Term, TransitionKind

MAX_START_BACKOFF = 300.0
"""The longest pause of an instance whose ``start`` keeps failing, in seconds."""


class MasterRole:
    """The terms of this instance."""

    def __init__(self, state: ElectorState) -> None:
        self._state = state
        self._orphan_terms: dict[Term, str] = {}
        """Terms that are held for us but not run, each with the id of the session that holds it.

        It may be a session that we have closed: a promoted replica can bring it back.
        """
        self._retry_at = LONG_AGO
        self._retry_batches: deque[tuple[Term, ...]] = deque()
        """Terms whose release failed, in batches that are retried one after the other."""
        self._inventory_outdated = False

    def is_orphan(self, term: Term) -> bool:
        """Return whether the term must be released without being served: its release may be in flight already."""
        return term in self._orphan_terms

    # --- serving ---

    def serve(self, lock: Lock, term: Term, session: Session) -> None:
        """Begin the term: start the job."""
        instance = self._state.identity.instance
        self._state.set_phase(lock, Serving(term, (session,), self._state.now))
        lock.unconfirmed_sources.clear()
        lock.last_run_transition = None
        self._state.locks_to_retime.add(lock.name)  # the timing may have changed while the claim was in flight
        lock.explanation = f"master since term {term.number}"
        self._state.emit(SetStopTimeout(term, session.timing.stop_timeout))
        self._state.emit(StartJob(term))
        self._state.record(TransitionKind.ELECTED, term, f"{instance} became master of {lock.name}")

    def on_job_event(self, event: JobStarted | JobStartFailed | JobStopped | JobRunChanged) -> None:
        """React to the report of a job; ignore it if its term is over."""
        lock = self._state.held_lock(event.term)
        if lock is None:
            return
        match event, lock.phase:
            case JobRunChanged(), _:
                record_run(self._state, lock, event)
            case JobStarted(), _:
                lock.failed_starts = 0
            case JobStartFailed(_, error), Serving() as serving:
                self._on_start_failed(lock, serving, error)
            case JobStopped(), Stopping(_, sessions, reason, ready_at):
                self._on_stopped(lock, Releasing(event.term, sessions, reason, ready_at))
            case JobStopped(), Serving(_, sessions):
                reason = "its trust ended before the job was started"
                self._on_stopped(lock, Releasing(event.term, sessions, reason, self._state.now))

    def _on_stopped(self, lock: Lock, phase: Releasing) -> None:
        record_stop(self._state, lock, phase.term, phase.reason)
        self.begin_release(lock, phase)

    def _on_start_failed(self, lock: Lock, serving: Serving, error: str) -> None:
        """Give the lock to another instance, and pause longer after each failure."""
        if self._state.now - serving.since >= MAX_START_BACKOFF:
            # It had worked: a ``start`` that does not return while the job runs cannot report its success.
            lock.failed_starts = 0
        cooldown = Backoff(lock.timing.heartbeat_interval, MAX_START_BACKOFF).delay(lock.failed_starts)
        lock.failed_starts += 1
        record_start_failure(self._state, lock, serving.term, error)
        self.end_term(lock, f"start failed: {error}", cooldown)

    # --- comparing with the database ---

    def on_change(self, lock_names: frozenset[str] | None) -> None:
        """Read the inventory now if one of these locks is held."""
        if self._state.held_terms and (lock_names is None or not lock_names.isdisjoint(self._state.held_terms)):
            if self._state.is_in_flight(ReadInventory):
                self._inventory_outdated = True
            else:
                self._read_inventory()

    def _read_inventory(self) -> None:
        state = self._state
        expected = state.inventory()
        state.send(
            ReadInventory(state.now, state.identity.instance, expected),
            then=lambda actual: self._on_inventory(expected, actual),
            otherwise=lambda _: self._read_inventory_again(),
        )

    def _on_inventory(self, expected: Inventory, actual: Inventory) -> None:
        self.check_inventory(expected, actual)
        self._read_inventory_again()

    def _read_inventory_again(self) -> None:
        """Read it once more if there was another change meanwhile; otherwise the next heartbeat brings it."""
        if self._inventory_outdated:
            self._inventory_outdated = False
            self._read_inventory()

    def is_confirmed_by(self, expected: Inventory, actual: Inventory) -> bool:
        """Return whether a renewal confirms what is held.

        A promoted database may lack it. So at first its renewals count only if the inventory matches: else they
        would extend the trust in terms that are lost for as long as the full read fails.
        """
        database = self._state.database
        if actual.matches(expected):
            database.confirmed = actual.incarnation
        return actual.incarnation.is_same(database.confirmed)

    def check_inventory(self, expected: Inventory, actual: Inventory) -> None:
        """Apply the stop requests; if the database holds other terms for us than expected, read them in full."""
        state = self._state
        for request in actual.stop_requests:
            if lock := state.held_lock(request.term):
                cooldown = lock.timing.heartbeat_interval if request.is_step_down else 0.0
                self.end_term(lock, request.reason, cooldown)
        if not actual.matches(expected) and not state.is_in_flight(ReadHeldTerms):
            sent, incarnation = state.now, actual.incarnation
            state.send(
                ReadHeldTerms(sent, state.identity.instance),
                then=lambda held_terms: self._reconcile(held_terms, sent, incarnation),
                otherwise=lambda _: None,  # the next heartbeat compares again
            )

    def _reconcile(self, held_terms: tuple[HeldTerm, ...], sent: float, incarnation: Incarnation) -> None:
        """Adopt nothing, release what is not run, stop what is not held."""
        self._state.database.confirmed = incarnation
        rows = {row.term.lock_name: row for row in held_terms}
        for name, row in rows.items():
            lock = self._state.locks.get(name)
            if lock is None or (isinstance(lock.phase, Waiting) and lock.changed_at < sent):
                self._orphan_terms[row.term] = row.session_id
        for name, term in list(self._state.held_terms.items()):
            lock = self._state.locks[name]
            if lock.changed_at < sent and (name not in rows or rows[name].term != term):
                self._state.missing_rows.append(name)  # the row itself may be lost
                self.end_term(lock, "the database no longer names it master", is_lost=True)

    # --- ending ---

    def end_term(self, lock: Lock, reason: str, cooldown: float = 0.0, *, is_lost: bool = False) -> None:
        """Stop the job; the term cannot be resumed. Do not compete again for ``cooldown`` seconds."""
        if isinstance(lock.phase, Serving):
            lock.explanation = f"stopping: {reason}"
            phase = lock.phase
            self._state.set_phase(lock, Stopping(phase.term, phase.sessions, reason, self._state.now + cooldown))
            self._state.emit(StopJob(phase.term, reason, is_lost))

    def end_terms_on(self, session: Session, reason: str) -> None:
        """End every term that depends on this session, which is lost."""
        for name in sorted(session.locks):
            self.end_term(self._state.locks[name], reason, is_lost=True)

    def report_overruns(self, session: Session) -> None:
        """Report the jobs that have not stopped by the end of their lease."""
        for name in sorted(session.locks):
            lock = self._state.locks[name]
            if isinstance(lock.phase, Serving | Stopping):
                reason = f"stop of {name} has not returned by the end of its lease"
                self._state.emit(Overrun(lock.phase.term, lock.lost_policy))
                self._state.record(TransitionKind.OVERRUN, lock.phase.term, reason)

    # --- releasing ---

    def begin_release(self, lock: Lock, phase: Releasing) -> None:
        """Release a lock whose job does not run."""
        lock.explanation = f"releasing: {phase.reason}"
        self._state.set_phase(lock, phase)

    def advance(self) -> None:
        """Send the releases that are due."""
        for name, phase in list(self._state.releasing.items()) if self._state.retired else ():
            if all(session.is_retired for session in phase.sessions):
                self._finish_release(name)
        if self._state.now >= self._retry_at and not self._state.is_in_flight(Release):
            self._send_release()

    def next_tick_at(self) -> float:
        """Return when to retry failed releases."""
        return self._retry_at if self._retry_at > self._state.now else NEVER

    def _send_release(self) -> None:
        """Release everything with one statement, and then what failed before, one batch at a time."""
        state = self._state
        due = {*(phase.term for phase in state.releasing.values()), *self._orphan_terms}
        while self._retry_batches and due.isdisjoint(self._retry_batches[0]):
            self._retry_batches.popleft()
        terms = due.difference(*self._retry_batches)
        if not terms and self._retry_batches:
            terms = due.intersection(self._retry_batches.popleft())
        if terms:
            self._touch(terms)
            session_ids = {session.id for session in state.all_sessions()}
            session_ids |= {self._orphan_terms[term] for term in terms if term in self._orphan_terms}
            release = Release(state.now, tuple(sorted(session_ids)), tuple(sorted(terms)))
            started = state.running_time
            state.send(
                release,
                then=lambda _: self._on_released(release),
                otherwise=lambda _: self._on_release_failed(release, state.running_time - started),
            )

    def _on_released(self, release: Release) -> None:
        for term in release.terms:
            self._orphan_terms.pop(term, None)
            phase = self._state.releasing.get(term.lock_name)
            if phase is not None and phase.term == term:
                self._finish_release(term.lock_name)

    def _finish_release(self, name: str) -> None:
        lock, phase = self._state.locks[name], self._state.releasing[name]
        lock.changed_at = self._state.now
        lock.explanation = f"stepped down: {phase.reason}"
        reason = f"{self._state.identity.instance} stepped down from {name}: {phase.reason}"
        self._state.record(TransitionKind.STEPPED_DOWN, phase.term, reason)
        self._state.set_phase(lock, Waiting(phase.ready_at))

    def _on_release_failed(self, release: Release, duration: float) -> None:
        """Retry in halves, since one locked row must not block the other releases.

        A term alone is retried after as long as the attempt ran, so that our claims are not blocked all the time.
        """
        self._retry_batches.extend(halves(release.terms))
        delay = max(RETRY_DELAY, duration) if len(release.terms) == 1 else RETRY_DELAY
        self._retry_at = self._state.now + delay
        self._touch(release.terms)

    def _touch(self, terms: Iterable[Term]) -> None:
        for term in terms:
            if lock := self._state.held_lock(term):
                lock.changed_at = self._state.now
