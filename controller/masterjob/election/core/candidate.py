"""State one: wait for a vacancy, take a fair share, claim.

A scan lists the locks that are enabled and free. An instance first claims only up to its fair share, in random
order and after a small jitter, so that masters spread over the instances. A quarter of a second later, every
instance may claim what is still free. Only the claim itself decides; everything before it reduces contention.
"""

import heapq
import math
from collections import deque

from masterjob.election.core.batches import halves
from masterjob.election.core.commands import RETRY_DELAY, Claim, EnsureLocks, ListVacancies
from masterjob.election.core.master import MasterRole
from masterjob.election.core.session import LONG_AGO, NEVER, Session
from masterjob.election.core.state import Claiming, ElectorState, Lock, Releasing, Waiting
from masterjob.election.values import Term, Vacancies

CLAIM_JITTER = 0.05
"""Seconds over which the instances spread their claims for the same vacancy."""

OPEN_CLAIM_DELAY = 0.25
"""Seconds until an instance may claim more than its fair share."""

RECHOOSE_DELAY = 0.02
"""Seconds until an instance that won only a part of its claim chooses again."""

MAX_BATCH_SIZE = 500
"""The most locks in one statement."""

WAITING_EXPLANATION = "waiting for the lock to be free"


class CandidateRole:
    """The locks that this instance waits for."""

    def __init__(self, state: ElectorState, master_role: MasterRole) -> None:
        self._state = state
        self._master_role = master_role
        self._ensure_at = LONG_AGO
        self._failed_batches: deque[tuple[str, ...]] = deque()
        """Locks whose rows could not be written, in batches that are retried one after the other."""
        self._scan_at = LONG_AGO
        self._open_claim_at = NEVER
        self._selected: list[str] = []
        self._claim_at = NEVER
        self._known_lock_count = 0
        self._known_forgotten_count: int | None = None
        self._claim_after_renewal = True
        """Whether a claim waits for the next heartbeat, because there was not enough trust for it."""

    def on_session_renewed(self) -> None:
        """Scan now if a claim had to wait for this renewal."""
        if self._claim_after_renewal:
            self._claim_after_renewal = False
            self.schedule_scan()

    def schedule_scan(self) -> None:
        """Scan as soon as possible."""
        self._scan_at = self._state.now

    def on_change(self, lock_names: frozenset[str] | None) -> None:
        """Scan now if one of these locks is waited for."""
        if lock_names is None or not lock_names.isdisjoint(self._state.candidates):
            self.schedule_scan()

    # --- time ---

    def advance(self) -> None:
        """Write rows, claim and scan if that is due."""
        while self._state.ready_times and self._state.ready_times[0] <= self._state.now:
            heapq.heappop(self._state.ready_times)
            self.schedule_scan()
        if self._state.now >= self._ensure_at and not self._state.is_in_flight(EnsureLocks):
            self._send_ensure()
        if self._can_send() and self._selected and self._state.now >= self._claim_at:
            self._claim_batch()
        if self._can_send() and not self._selected and self._state.now >= min(self._scan_at, self._open_claim_at):
            self._scan()

    def next_tick_at(self) -> float:
        """Return when `advance` has something to do."""
        has_missing_rows = self._state.missing_rows or self._failed_batches
        ensure_at = self._ensure_at if has_missing_rows and not self._state.is_in_flight(EnsureLocks) else NEVER
        times = [self._state.ready_times[0] if self._state.ready_times else NEVER, ensure_at]
        if self._can_send():
            times.append(self._claim_at if self._selected else min(self._scan_at, self._open_claim_at))
        return min(times)

    def _can_send(self) -> bool:
        state = self._state
        return (
            bool(state.candidates)
            and not state.missing_rows
            and not state.database.quarantine
            and not state.is_in_flight(EnsureLocks, ListVacancies, Claim)
            and any(session.trust_left(state.now) > 0 for session in state.sessions.values())
        )

    # --- rows ---

    def _send_ensure(self) -> None:
        """Write a batch of missing rows; batches that failed come last, one at a time."""
        state = self._state
        while state.missing_rows or self._failed_batches:
            if state.missing_rows:
                names = state.missing_rows[:MAX_BATCH_SIZE]
                del state.missing_rows[:MAX_BATCH_SIZE]
            else:
                names = list(self._failed_batches.popleft())
            if batch := tuple(sorted(name for name in names if name in state.locks)):
                state.send(
                    EnsureLocks(state.now, batch),
                    then=lambda _: self._on_ensured(batch),
                    otherwise=lambda error: self._on_ensure_failed(batch, error),
                )
                return

    def _on_ensured(self, batch: tuple[str, ...]) -> None:
        self._explain(batch, WAITING_EXPLANATION)
        self.schedule_scan()

    def _on_ensure_failed(self, batch: tuple[str, ...], error: str) -> None:
        self._explain(batch, f"its row cannot be written: {error}")
        self._failed_batches.extend(halves(batch))
        self._ensure_at = self._state.now + RETRY_DELAY

    def _explain(self, batch: tuple[str, ...], explanation: str) -> None:
        for name in batch:
            if (lock := self._state.locks.get(name)) and isinstance(lock.phase, Waiting):
                lock.explanation = explanation

    # --- scanning ---

    def _scan(self) -> None:
        state = self._state
        ignore_fair_share = state.now >= self._open_claim_at
        self._open_claim_at = NEVER
        self._scan_at = state.now + min(timing.check_master_interval for timing in state.demand)
        state.send(
            ListVacancies(state.now, ignore_fair_share),
            then=lambda vacancies: self._on_vacancies(vacancies, ignore_fair_share),
            otherwise=lambda _: self._on_scan_failed(),
        )

    def _on_scan_failed(self) -> None:
        self._scan_at = self._state.now + RETRY_DELAY

    def _on_vacancies(self, vacancies: Vacancies, ignore_fair_share: bool) -> None:
        """Select what to claim."""
        state = self._state
        if vacancies.next_enable_ms is not None:
            self._scan_at = min(self._scan_at, state.now + vacancies.next_enable_ms / 1000)
        self._restore_rows(vacancies)
        free = [name for name in vacancies.lock_names if self._can_claim(name)]
        state.rng.shuffle(free)
        is_alone = vacancies.live_instances <= 1
        if not (is_alone or ignore_fair_share):
            fair_share = math.ceil(vacancies.enabled_count / vacancies.live_instances)
            open_share = max(0, fair_share - len(state.held_terms))
            self._open_claim_at = state.now + OPEN_CLAIM_DELAY if len(free) > open_share else NEVER
            free = free[:open_share]
        self._selected = free
        self._claim_at = state.now + (0.0 if is_alone else state.rng.uniform(0, CLAIM_JITTER))

    def _restore_rows(self, vacancies: Vacancies) -> None:
        """Write our rows again if some are gone: a promoted replica lacks them, or locks were forgotten."""
        forgotten, self._known_forgotten_count = self._known_forgotten_count, vacancies.forgotten_count
        is_forgotten = forgotten is not None and forgotten != vacancies.forgotten_count
        if vacancies.lock_count < self._known_lock_count or is_forgotten:
            self._state.missing_rows = list(self._state.locks)
        self._known_lock_count = vacancies.lock_count

    def _can_claim(self, name: str) -> bool:
        lock = self._state.locks.get(name)
        return lock is not None and isinstance(lock.phase, Waiting) and lock.phase.ready_at <= self._state.now

    # --- claiming ---

    def _claim_batch(self) -> None:
        """Claim the selected locks of the first session; renew it before if it has too little trust left."""
        self._selected = [name for name in self._selected if self._can_claim(name)]
        session = self._session_for(self._selected[0]) if self._selected else None
        if session is None:
            self._selected = []
        elif session.can_claim(self._state.now):
            self._send_claim(session)
        else:
            session.renew_at = min(session.renew_at, self._state.now)
            self._claim_after_renewal = True
            self._selected = []

    def _send_claim(self, session: Session) -> None:
        state = self._state
        batch = [name for name in self._selected if self._session_for(name) is session][:MAX_BATCH_SIZE]
        self._selected = [name for name in self._selected if name not in set(batch)]
        locks = [state.locks[name] for name in sorted(batch)]
        for lock in locks:
            state.set_phase(lock, Claiming())
            lock.changed_at = state.now
        sent = state.now
        state.send(
            Claim(sent, session.id, tuple(lock.name for lock in locks)),
            then=lambda terms: self._on_claimed(locks, session, terms, sent),
            otherwise=lambda _: self._on_claim_failed(locks),
        )

    def _on_claimed(self, locks: list[Lock], session: Session, terms: tuple[Term, ...], sent: float) -> None:
        granted = {term.lock_name: term for term in terms if not self._master_role.is_orphan(term)}
        is_gone = session not in self._state.all_sessions()  # evicted meanwhile, and its grants with it
        # After a partial success choose again before the other instances claim the rest.
        delay = self._state.rng.uniform(0, RECHOOSE_DELAY) if granted else OPEN_CLAIM_DELAY
        for lock in locks:
            lock.changed_at = self._state.now
            if lock.name not in granted or is_gone:
                self._return_to_waiting(lock, delay)
            elif lock.wanted and self.is_still_trusted(session, sent):
                self._master_role.serve(lock, granted[lock.name], session)
            else:
                reason = "the grant came too late" if lock.wanted else "not wanted any more"
                phase = Releasing(granted[lock.name], (session,), reason, self._state.now)
                self._master_role.begin_release(lock, phase)

    def is_still_trusted(self, session: Session, sent: float) -> bool:
        """Return whether a term may start that a claim, ``sent`` then, was granted.

        The reply may have come after the end of the trust, or from a database that has been replaced since.
        """
        return session.trust_left(self._state.now) > 0 and sent >= self._state.database.changed_at

    def _on_claim_failed(self, locks: list[Lock]) -> None:
        """Start nothing; if the claim was granted after all, the inventory will show it."""
        for lock in locks:
            lock.changed_at = self._state.now
            self._return_to_waiting(lock, RETRY_DELAY)

    def _return_to_waiting(self, lock: Lock, delay: float) -> None:
        lock.explanation = WAITING_EXPLANATION
        self._state.set_phase(lock, Waiting(self._state.now + delay))

    def _session_for(self, name: str) -> Session | None:
        return self._state.sessions.get(self._state.locks[name].timing)
