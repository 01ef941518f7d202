"""What an elector must and must not order at each step, judged from what its instance can know.

Each check is a sentence of docs/design.md, whose section begins the violation. They find a wrong decision when it
is made, even if the rest of the world hides what follows from it.
"""

from typing import TYPE_CHECKING

from masterjob.election.core.actions import Abandon, Action, Overrun, StartJob, StopJob
from masterjob.election.core.commands import (
    Claim,
    Move,
    OpenSession,
    ReadHeldTerms,
    ReadInventory,
    Renew,
    StoreCommand,
)
from masterjob.election.core.elector import Elector
from masterjob.election.core.events import CoreEvent, JobStartFailed, Reply, Shutdown, StepDown, Withdraw
from masterjob.election.core.state import Serving
from masterjob.election.values import Inventory, Term
from tests.simulation.answers import ROUNDING, Answers, terms_of
from tests.simulation.story import Violation, readable

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance


class Decisions:
    """Checks the decisions of one elector."""

    def __init__(self, instance: "SimulatedInstance", elector: Elector) -> None:
        self._instance = instance
        self._elector, self._state = elector, elector._state
        self._answers = Answers(instance.name, elector, instance.jobs.runs)
        self._granted_at: dict[Term, float] = {}
        """When each term was granted, on the local clock."""
        self._overruns: set[Term] = set()
        """Terms whose overrun was reported."""

    def handle(self, event: CoreEvent, local: float) -> list[Action]:
        """Let the elector handle an event, and check what it orders."""
        trust = {term: self._elector.trusted_until(term) for term in self._answers.running_terms()}
        check_answer = self._answers.expect(event, local) if isinstance(event, Reply) else None
        actions = self._elector.handle(event, local)
        stopped, started = self._note_orders(actions, local)
        if stopped:
            self._check_reasons(event, stopped, trust, local)
        self._check_running(trust, stopped, started, local)
        self._check_overruns(local)
        self._check_waking()
        if isinstance(event, Reply) and isinstance(event.command, OpenSession | Renew):
            self._answers.check_trust(event.command)
        if check_answer is not None and not any(isinstance(each, Abandon) for each in actions):
            check_answer(actions)
        return actions

    def _note_orders(self, actions: list[Action], local: float) -> tuple[set[Term], set[Term]]:
        """Return the terms whose jobs are stopped and started."""
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
        return stopped, started

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
        session = self._answers.session(id_)
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
                return self._granted_at[term] < sent and term not in terms_of(rows)
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
            if self._answers.end_by.get(term, local) < local - ROUNDING:
                self._fail("3.4", term, "an evicted master has no more than its stop timeout")

    def _check_waking(self) -> None:
        """3.4: the job is stopped when the trust ends, and the lost policy is applied when the lease ends."""
        if self._elector.next_tick_at() > self._elector.next_expiry() + ROUNDING:
            raise Violation(
                f"3.4: nothing wakes the elector of {self._instance.name} when a trust or a lease ends"
            )
