"""What an elector must and must not order when a command is answered, judged from what its instance can know.

The section of docs/design.md that says so begins each violation.
"""

from collections.abc import Callable

from masterjob.election.core.actions import Action, StartJob, StopJob
from masterjob.election.core.commands import Claim, Move, OpenSession, ReadHeldTerms, ReadInventory, Renew
from masterjob.election.core.elector import Elector
from masterjob.election.core.events import Reply
from masterjob.election.core.session import Session
from masterjob.election.core.state import Claiming, Waiting
from masterjob.election.values import HeldTerm, Inventory, Term
from tests.simulation.jobs import JobRun
from tests.simulation.story import Violation, readable

ROUNDING = 1e-6
"""Seconds by which sums of times may be wrong."""

Check = Callable[[list[Action]], None]


class Answers:
    """The checks of what must follow from the answers to one elector."""

    def __init__(self, name: str, elector: Elector, runs: dict[str, JobRun]) -> None:
        self._name, self._state, self._runs = name, elector._state, runs
        self._orphans: set[Term] = set()
        """Terms that the database named while nothing was known of them."""
        self.end_by: dict[Term, float] = {}
        """When the jobs of evicted sessions must have ended, on the local clock."""

    def expect(self, event: Reply, local: float) -> Check | None:
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
        if (session := self.session(renew.session_id)) is not None:
            for name in session.locks:
                self.end_by[self._state.held_terms[name]] = local + session.timing.stop_timeout

    def _expect_comparison(self, command: Renew | ReadInventory, inventory: Inventory) -> Check | None:
        """3.2: the inventory is compared with what the instance believed when it sent the renewal."""
        if isinstance(command, Renew) and self.session(command.session_id) is None:
            return None
        expected = command.expected
        differs = (inventory.count, inventory.term_sum) != (expected.count, expected.term_sum)

        def check(actions: list[Action]) -> None:
            is_read = any(isinstance(action, ReadHeldTerms) for action in actions)
            if is_read != differs and (is_read or not self._state.is_in_flight(ReadHeldTerms)):
                happens = "agrees, but the terms are read" if is_read else "differs, but the terms are not read"
                raise Violation(f"3.2: the inventory of {self._name} {happens} in full")

        return check

    def _expect_reconciliation(self, read: ReadHeldTerms, rows: object) -> Check:
        """3.2: what is not held is stopped, unless it is newer than what was read."""
        terms, locks = terms_of(rows), self._state.locks
        self._orphans.update(term for term in terms if not self._is_busy_with(term))
        unheld = [
            term
            for term in self.running_terms()
            if term not in terms and locks[term.lock_name].changed_at < read.sent
        ]

        return self._expect_end(unheld)

    def _expect_end_unless_moved(self, move: Move, holder: object) -> Check:
        """3.2: the rows that a statement changed are its answer, so a move that changed none ends the term."""
        is_held = holder in (move.from_session_id, move.to_session_id) or self._is_of_another_database(move)
        return self._expect_end([move.term] if move.term in self.running_terms() and not is_held else [])

    def _is_of_another_database(self, command: Claim | Move) -> bool:
        """3.8: what was sent before a promotion was seen may have been executed by the old primary."""
        return command.sent < self._state.database.changed_at

    def _expect_end(self, terms: list[Term]) -> Check:
        def check(actions: list[Action]) -> None:
            for term in terms:
                if not any(isinstance(action, StopJob) and action.term == term for action in actions):
                    self._fail(term, "the database does not name it, and it is not stopped")

        return check

    def _is_busy_with(self, term: Term) -> bool:
        """Return whether a claim of the term's lock is in flight, or the lock is held."""
        lock = self._state.locks.get(term.lock_name)
        return lock is not None and not isinstance(lock.phase, Waiting)

    def _expect_service(self, claim: Claim, terms: object, local: float) -> Check | None:
        """3.2: a claim in flight is no orphan. What it is granted in time is served."""
        assert isinstance(terms, tuple)
        session = self.session(claim.session_id)
        if session is None or session.trusted_until <= local + ROUNDING or self._is_of_another_database(claim):
            return None
        locks = [lock for name in claim.lock_names if (lock := self._state.locks.get(name)) is not None]
        wanted = {lock.name for lock in locks if lock.wanted and isinstance(lock.phase, Claiming)}
        granted = [term for term in terms if term.lock_name in wanted and term not in self._orphans]

        def check(actions: list[Action]) -> None:
            for term in granted:
                if StartJob(term) not in actions:
                    self._fail(term, "it was granted in time, and is not served")

        return check

    def check_trust(self, command: OpenSession | Renew) -> None:
        """3: trust counts from the sending of a renewal; a late reply does not extend it."""
        id_ = command.session.id if isinstance(command, OpenSession) else command.session_id
        session = self.session(id_)
        if session is None:
            return
        if session.trusted_until > command.sent + session.timing.trust_duration + ROUNDING:
            raise Violation(
                f"3: {self._name} trusts session {id_} for longer than from the sending of its heartbeat"
            )

    def running_terms(self) -> list[Term]:
        """Return the terms whose jobs have been ordered to start and not to stop."""
        return [run.term for run in self._runs.values() if run.stopping_since is None]

    def session(self, id_: str) -> Session | None:
        """Return the session of this id that is in use."""
        return next((each for each in self._state.sessions.values() if each.id == id_), None)

    def _fail(self, term: Term, what: str) -> None:
        raise Violation(f"3.2: {self._name} and {readable(term)}: {what}")


def terms_of(rows: object) -> set[Term]:
    """Return the terms in the answer to a reading."""
    assert isinstance(rows, tuple)
    return {row.term for row in rows if isinstance(row, HeldTerm)}
