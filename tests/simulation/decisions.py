"""What an elector must and must not order at each step, judged from what its instance can know.

Each check is a sentence of docs/design.md, whose section begins the violation. They find a wrong decision when it
is made, even if the rest of the world hides what follows from it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from masterjob.election.core.actions import Abandon, Action, Overrun, StartJob, StopJob
from masterjob.election.core.commands import Claim, Move, ReadHeldTerms, ReadInventory, Renew, StoreCommand
from masterjob.election.core.elector import Elector
from masterjob.election.core.events import CoreEvent, JobStartFailed, Reply, Shutdown, StepDown, Withdraw
from masterjob.election.core.session import Session
from masterjob.election.core.state import Claiming, Serving, Waiting
from masterjob.election.values import HeldTerm, Inventory, Term
from tests.simulation.story import Violation, readable

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance

ROUNDING = 1e-6
"""Seconds by which sums of times may be wrong."""


class Decisions:
    """Checks the decisions of one elector."""

    def __init__(self, instance: "SimulatedInstance", elector: Elector) -> None:
        self._instance = instance
        self._elector, self._state = elector, elector._state
        self._granted_at: dict[Term, float] = {}
        """When each term was granted, on the local clock."""
        self._orphans: set[Term] = set()
        """Terms that the database named while nothing was known of them."""
        self._end_by: dict[Term, float] = {}
        """When the jobs of evicted sessions must have ended, on the local clock."""
        self._overruns: set[Term] = set()
        """Terms whose overrun was reported."""

    def handle(self, event: CoreEvent, local: float) -> list[Action]:
        """Let the elector handle an event, and check what it orders."""
        trust = {term: self._elector.trusted_until(term) for term in self._running_terms()}
        check_answer = self._expect(event, local) if isinstance(event, Reply) else None
        actions = self._elector.handle(event, local)
        stopped, started = set[Term](), set[Term]()
        for action in actions:
            if isinstance(action, StopJob):
                stopped.add(action.term)
            elif isinstance(action, StartJob):
                started.add(action.term)
                self._granted_at[action.term] = local
            elif isinstance(action, Overrun):
                self._overruns.add(action.term)
            elif isinstance(action, Claim | Move):
                self._check_trust_of(action, local)
        if stopped:
            self._check_reasons(event, stopped, trust, local)
        self._check_running(trust, stopped, started, local)
        self._check_overruns(local)
        self._check_waking()
        if check_answer is not None and not any(isinstance(each, Abandon) for each in actions):
            check_answer(actions)
        return actions

    def _running_terms(self) -> list[Term]:
        return [run.term for run in self._instance.jobs.runs.values() if run.stopping_since is None]

    def _fail(self, section: str, term: Term, what: str) -> None:
        raise Violation(f"{section}: {self._instance.name} and {readable(term)}: {what}")

    # --- every step ---

    def _check_running(
        self, trust: dict[Term, float], stopped: set[Term], started: set[Term], local: float
    ) -> None:
        """3.4: the end of the trust and an eviction stop the job; a term that was given up is never resumed."""
        for term in (trust.keys() | started) - stopped if trust or started else ():
            if trust.get(term, local) <= local - ROUNDING:
                self._fail("3.4", term, "its job could see it as lost, and it is not stopped")
            trusted_until = self._elector.trusted_until(term)
            if trusted_until <= local - ROUNDING:
                self._fail("3.4", term, "it cannot be trusted any more, and is not stopped")
            phase = self._state.locks[term.lock_name].phase
            if isinstance(phase, Serving) and any(trusted_until > each.trusted_until for each in phase.sessions):
                self._fail("3.2", term, "it is trusted for longer than one of its sessions")

    def _check_trust_of(self, command: Claim | Move, local: float) -> None:
        """3.4: a lock is claimed only with at least one heartbeat interval of trust left."""
        id_ = command.session_id if isinstance(command, Claim) else command.to_session_id
        session = self._session(id_)
        if session is not None and session.trusted_until - local < session.timing.heartbeat_interval - ROUNDING:
            raise Violation(f"3.4: {self._instance.name} orders a {readable(command)} with hardly any trust left")

    def _check_reasons(self, event: CoreEvent, stopped: set[Term], trust: dict[Term, float], local: float) -> None:
        """3.4: failed attempts never stop the job; 3.2: what is outdated ends no term."""
        for term in stopped:
            is_lost = trust.get(term, local) <= local + ROUNDING
            was_moving = bool(self._state.locks[term.lock_name].unconfirmed_sources)
            if not (is_lost or was_moving or self._is_ended_by(event, term)):
                self._fail("3.4", term, f"its job is stopped without a reason, at {type(event).__name__}")

    def _is_ended_by(self, event: CoreEvent, term: Term) -> bool:
        match event:
            case Reply(command, answer):
                return self._is_ended_by_answer(command, answer, term)
            case JobStartFailed(failed):
                return failed == term
            case StepDown(name) | Withdraw(name):
                return name == term.lock_name
        return isinstance(event, Shutdown)

    def _is_ended_by_answer(self, command: StoreCommand[object], answer: object, term: Term) -> bool:
        match command, answer:
            case Renew(), None:
                return True
            case ((Renew() | ReadInventory()), Inventory(stop_requests=requests)):
                return any(request.term == term for request in requests)
            case ReadHeldTerms(sent), rows:
                return self._granted_at[term] < sent and term not in _terms(rows)
            case Move(), holder:
                return command.term == term and holder not in (command.from_session_id, command.to_session_id)
        return False

    def _check_overruns(self, local: float) -> None:
        """3.4: the lost policy is applied when the lease ends; after an eviction the stop timeout is left."""
        for run in self._instance.jobs.runs.values():
            term = run.term
            if run.stopping_since is None or term in self._overruns:
                continue
            lock = self._state.held_lock(term)
            sessions = getattr(lock.phase, "sessions", ()) if lock is not None else ()
            if any(session.expires_at <= local - ROUNDING for session in sessions):
                self._fail("3.4", term, "its lease is over while its job stops, and that is not reported")
            if self._end_by.get(term, local) < local - ROUNDING:
                self._fail("3.4", term, "an evicted master has no more than its stop timeout")

    def _check_waking(self) -> None:
        """3.4: the job is stopped when the trust ends, and the lost policy is applied when the lease ends."""
        if self._elector.next_tick_at() > self._elector.next_expiry() + ROUNDING:
            raise Violation(
                f"3.4: nothing wakes the elector of {self._instance.name} when a trust or a lease ends"
            )

    # --- answers ---

    def _expect(self, event: Reply, local: float) -> Callable[[list[Action]], None] | None:
        """Return what to check after the elector has handled an answer that it waits for."""
        if event.command not in self._state._in_flight:
            return None
        match event:
            case Reply(Renew() as renew, None):
                self._note_eviction(renew, local)
            case Reply((Renew() | ReadInventory()) as command, Inventory() as inventory):
                return self._expect_comparison(command, inventory)
            case Reply(ReadHeldTerms() as read, rows):
                return self._expect_reconciliation(read, rows)
            case Reply(Move() as move, holder):
                return self._expect_end_unless_moved(move, holder)
            case Reply(Claim() as claim, terms):
                return self._expect_service(claim, terms, local)
        return None

    def _note_eviction(self, renew: Renew, local: float) -> None:
        if (session := self._session(renew.session_id)) is not None:
            for name in session.locks:
                self._end_by[self._state.held_terms[name]] = local + session.timing.stop_timeout

    def _expect_comparison(
        self, command: Renew | ReadInventory, inventory: Inventory
    ) -> Callable[[list[Action]], None] | None:
        """3.2: the inventory is compared with what the instance believed when it sent the renewal."""
        if isinstance(command, Renew) and self._session(command.session_id) is None:
            return None
        expected = command.expected
        differs = (inventory.count, inventory.term_sum) != (expected.count, expected.term_sum)

        def check(actions: list[Action]) -> None:
            is_read = any(isinstance(action, ReadHeldTerms) for action in actions)
            if is_read != differs and (is_read or not self._state.is_in_flight(ReadHeldTerms)):
                happens = "agrees, but the terms are read" if is_read else "differs, but the terms are not read"
                raise Violation(f"3.2: the inventory of {self._instance.name} {happens} in full")

        return check

    def _expect_reconciliation(self, read: ReadHeldTerms, rows: object) -> Callable[[list[Action]], None]:
        """3.2: what is not held is stopped, unless it is newer than what was read."""
        terms, locks = _terms(rows), self._state.locks
        self._orphans.update(term for term in terms if not self._is_busy_with(term))
        unheld = [
            term
            for term in self._running_terms()
            if term not in terms and locks[term.lock_name].changed_at < read.sent
        ]

        return self._expect_end(unheld)

    def _expect_end_unless_moved(self, move: Move, holder: object) -> Callable[[list[Action]], None]:
        """3.2: the rows that a statement changed are its answer, so a move that changed none ends the term."""
        is_held = holder in (move.from_session_id, move.to_session_id)
        return self._expect_end([move.term] if move.term in self._running_terms() and not is_held else [])

    def _expect_end(self, terms: list[Term]) -> Callable[[list[Action]], None]:
        def check(actions: list[Action]) -> None:
            for term in terms:
                if not any(isinstance(action, StopJob) and action.term == term for action in actions):
                    self._fail("3.2", term, "the database does not name it, and it is not stopped")

        return check

    def _is_busy_with(self, term: Term) -> bool:
        """Return whether a claim of the term's lock is in flight, or the lock is held."""
        lock = self._state.locks.get(term.lock_name)
        return lock is not None and not isinstance(lock.phase, Waiting)

    def _expect_service(self, claim: Claim, terms: object, local: float) -> Callable[[list[Action]], None] | None:
        """3.2: a claim in flight is no orphan. What it is granted in time is served."""
        assert isinstance(terms, tuple)
        session = self._session(claim.session_id)
        if session is None or session.trusted_until <= local + ROUNDING:
            return None
        locks = [lock for name in claim.lock_names if (lock := self._state.locks.get(name)) is not None]
        wanted = {lock.name for lock in locks if lock.wanted and isinstance(lock.phase, Claiming)}
        granted = [term for term in terms if term.lock_name in wanted and term not in self._orphans]

        def check(actions: list[Action]) -> None:
            for term in granted:
                if StartJob(term) not in actions:
                    self._fail("3.2", term, "it was granted in time, and is not served")

        return check

    def _session(self, id_: str) -> Session | None:
        """Return the session of this id that is in use."""
        return next((each for each in self._state.sessions.values() if each.id == id_), None)


def _terms(rows: object) -> set[Term]:
    assert isinstance(rows, tuple)
    return {row.term for row in rows if isinstance(row, HeldTerm)}
