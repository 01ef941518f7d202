"""State one: wait for a vacancy, take a fair share, claim (design 3.2 claim, 3.5).

A look finds the locks that are enabled and free. An instance first claims only up to its fair share, in
random order and after a little jitter, so that masters spread over the instances; what is still free after a
quarter of a second anyone takes. The claim decides; everything before it is only politeness.
"""

import heapq
import math
from collections import deque

from masterjob.election.core.commands import RETRY_DELAY, Claim, EnsureLocks, ListVacancies
from masterjob.election.core.master import MasterRole
from masterjob.election.core.session import LONG_AGO, NEVER, Session
from masterjob.election.core.state import Claiming, ElectorState, Lock, Releasing, Waiting
from masterjob.election.values import Term, Vacancies

CLAIM_JITTER = 0.05
"""Seconds by which claims for the same vacancy are spread."""

OPEN_CLAIM_DELAY = 0.25
"""Seconds after which what no fair share covered is anybody's."""

RECHOOSE_DELAY = 0.02
"""Seconds until an instance that lost some locks of its share to others chooses again."""

MAX_BATCH_SIZE = 500
"""Locks claimed with one statement."""

WAITING_EXPLANATION = "waiting for the lock to be free"


class CandidateRole:
    """The locks that this instance waits for."""

    def __init__(self, state: ElectorState, master_role: MasterRole) -> None:
        self._state = state
        self._master_role = master_role
        self._ensure_at = LONG_AGO
        self._failed_batches: deque[tuple[str, ...]] = deque()
        """Locks whose rows could not be written, in groups that are tried in turn."""
        self._scan_at = LONG_AGO
        self._open_claim_at = NEVER
        self._selected: list[str] = []
        self._claim_at = NEVER
        self._known_lock_count = 0
        self._claim_after_renewal = True
        """Whether the next heartbeat should be followed by a look, since there was no trust to claim with."""

    # --- what others tell ---

    def on_declared(self, lock: Lock) -> None:
        """A lock is wanted that was not before: it needs its row first."""
        self._state.missing_rows.append(lock.name)

    def on_session_renewed(self) -> None:
        """There is trust again, for claims that had to wait for it."""
        if self._claim_after_renewal:
            self._claim_after_renewal = False
            self.schedule_scan()

    def schedule_scan(self) -> None:
        """Something may have become free."""
        self._scan_at = self._state.now

    def on_change(self, lock_names: frozenset[str] | None) -> None:
        """Somebody changed something."""
        if lock_names is None or not lock_names.isdisjoint(self._state.candidates):
            self.schedule_scan()

    # --- time ---

    def advance(self) -> None:
        """Ensure, look and claim what is due."""
        while self._state.ready_times and self._state.ready_times[0] <= self._state.now:
            heapq.heappop(self._state.ready_times)
            self.schedule_scan()
        if self._state.now >= self._ensure_at and not self._state.is_in_flight(EnsureLocks):
            self._send_ensure()
        if self._can_send() and self._selected and self._state.now >= self._claim_at:
            self._claim_batch()
        if self._can_send() and self._is_scan_due():
            self._scan()

    def next_tick_at(self) -> float:
        """When one of these is due."""
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
            and not state.is_in_flight(EnsureLocks, ListVacancies, Claim)
            and any(session.trust_left(state.now) > 0 for session in state.sessions.values())
        )

    def _is_scan_due(self) -> bool:
        return not self._selected and self._state.now >= min(self._scan_at, self._open_claim_at)

    # --- rows ---

    def _send_ensure(self) -> None:
        """Have the rows of locks written; what could not be, a group at a time, once all others are."""
        state = self._state
        while state.missing_rows or self._failed_batches:
            if state.missing_rows:
                names, state.missing_rows = (
                    state.missing_rows[:MAX_BATCH_SIZE],
                    state.missing_rows[MAX_BATCH_SIZE:],
                )
            else:
                names = list(self._failed_batches.popleft())
            if names := [name for name in names if name in state.locks]:
                state.send(EnsureLocks(state.now, tuple(sorted(names))))
                return

    def on_locks_ensured(self, command: EnsureLocks) -> None:
        """The locks can be found now, if they are free."""
        for name in command.lock_names:
            if (lock := self._state.locks.get(name)) and isinstance(lock.phase, Waiting):
                lock.explanation = WAITING_EXPLANATION
        self.schedule_scan()

    def on_ensure_failed(self, command: EnsureLocks, error: str) -> None:
        """Try it again in two halves: one name that the database cannot store must not stop all others."""
        for name in command.lock_names:
            if (lock := self._state.locks.get(name)) and isinstance(lock.phase, Waiting):
                lock.explanation = f"its row cannot be written: {error}"
        half = (len(command.lock_names) + 1) // 2
        self._failed_batches.extend(
            group for group in (command.lock_names[:half], command.lock_names[half:]) if group
        )
        self._ensure_at = self._state.now + RETRY_DELAY

    # --- looking ---

    def _scan(self) -> None:
        state = self._state
        command = ListVacancies(state.now, ignore_fair_share=state.now >= self._open_claim_at)
        self._open_claim_at = NEVER
        self._scan_at = state.now + min(timing.check_master_interval for timing in state.demand)
        state.send(command)

    def on_vacancies_listed(self, command: ListVacancies, vacancies: Vacancies) -> None:
        """Choose what to claim of what is free."""
        if vacancies.next_enable_ms is not None:
            self._scan_at = min(self._scan_at, self._state.now + vacancies.next_enable_ms / 1000)
        if vacancies.lock_count < self._known_lock_count:  # a promoted replica lost some: write ours again
            self._state.missing_rows = list(self._state.locks)
        self._known_lock_count = vacancies.lock_count
        free = [name for name in vacancies.lock_names if self._can_claim(name)]
        self._state.rng.shuffle(free)
        is_alone = vacancies.live_instances <= 1
        if not (is_alone or command.ignore_fair_share):
            open_share = math.ceil(vacancies.enabled_count / vacancies.live_instances) - len(
                self._state.held_terms
            )
            self._open_claim_at = self._state.now + OPEN_CLAIM_DELAY if len(free) > max(0, open_share) else NEVER
            free = free[: max(0, open_share)]
        self._selected = free
        self._claim_at = self._state.now + (0.0 if is_alone else self._state.rng.uniform(0, CLAIM_JITTER))

    def _can_claim(self, name: str) -> bool:
        lock = self._state.locks.get(name)
        return lock is not None and isinstance(lock.phase, Waiting) and lock.phase.ready_at <= self._state.now

    # --- claiming ---

    def _claim_batch(self) -> None:
        """Claim a batch for the first lease that is good for it; a lease that is not is renewed first."""
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
        command = Claim(state.now, session.id, tuple(sorted(batch)))
        for name in batch:
            state.set_phase(state.locks[name], Claiming(command))
            state.locks[name].changed_at = state.now
        state.send(command)

    def on_claimed(self, command: Claim, terms: tuple[Term, ...]) -> None:
        """Start what was granted, if it may still be trusted; the answer may have taken its time."""
        granted = {term.lock_name: term for term in terms if not self._master_role.is_orphan(term)}
        session = next((x for x in self._state.all_sessions() if x.id == command.session_id), None)
        # Who won only some of its share looks again before the others take the rest.
        delay = self._state.rng.uniform(0, RECHOOSE_DELAY) if granted else OPEN_CLAIM_DELAY
        for lock in self._locks_in_claim(command):
            if lock.name not in granted or session is None:  # a session that is gone took its grants along
                self._return_to_waiting(lock, delay)
            elif lock.wanted and self.is_still_trusted(session):
                self._master_role.serve(lock, granted[lock.name], session)
            else:
                reason = "the grant came too late" if lock.wanted else "not wanted any more"
                phase = Releasing(granted[lock.name], (session,), reason, self._state.now)
                self._master_role.begin_release(phase.term, phase)

    def is_still_trusted(self, session: Session) -> bool:
        """The second look at the trust, right before the start (design 3.2, claim)."""
        return session.trust_left(self._state.now) > 0

    def on_claim_failed(self, command: Claim) -> None:
        """A claim's outcome is unknown: nothing is started; if it was granted, the inventory will find it."""
        for lock in self._locks_in_claim(command):
            self._return_to_waiting(lock, RETRY_DELAY)

    def on_list_failed(self) -> None:
        """Look again in a while."""
        self._scan_at = self._state.now + RETRY_DELAY

    def _return_to_waiting(self, lock: Lock, delay: float) -> None:
        lock.explanation = WAITING_EXPLANATION
        self._state.set_phase(lock, Waiting(self._state.now + delay))

    def _locks_in_claim(self, command: Claim) -> list[Lock]:
        locks = [self._state.locks[name] for name in command.lock_names]
        for lock in locks:
            lock.changed_at = self._state.now
        return locks

    def _session_for(self, name: str) -> Session | None:
        return self._state.sessions.get(self._state.locks[name].timing)
