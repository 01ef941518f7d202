"""Carries out what the elector of one simulated instance orders."""

from typing import TYPE_CHECKING

from masterjob.election.core.actions import (
    Abandon,
    Action,
    Overrun,
    RecordTransition,
    SetStopTimeout,
    StartJob,
    StopJob,
)
from masterjob.election.core.commands import CloseSession, StoreCommand
from masterjob.election.values import LostPolicy, Term
from tests.simulation.connections import Worker

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance


STEP_DOWN_REASONS = ("asked on the spot", "asked to step down")
"""Why a term ends after which its instance pauses for a heartbeat interval."""


class ActionExecutor:
    """The connections of an instance, and its orders to jobs."""

    def __init__(self, instance: "SimulatedInstance") -> None:
        self._instance = instance
        self._workers: dict[str, Worker] = {}

    def execute(self, action: Action) -> None:
        """Do what the elector orders."""
        world, jobs = self._instance.world, self._instance.jobs
        match action:
            case StoreCommand():
                self.submit(action)
            case Abandon(command):
                self._abandon(command)
            case StartJob(term):
                jobs.start(term)
            case SetStopTimeout(term, seconds):
                jobs.stop_timeouts[term.lock_name] = seconds
            case StopJob(term, reason):
                self._on_stop(term, reason)
            case RecordTransition(entry):
                world.on_transition(self._instance, entry)
            case Overrun(term, lost_policy):
                self._on_overrun(term, lost_policy)

    def _on_stop(self, term: Term, reason: str) -> None:
        if reason in STEP_DOWN_REASONS:
            self._instance.rest(term.lock_name, self._instance.world.conditions.longest_heartbeat * 1.02)
        self._instance.jobs.stop(term)

    def _on_overrun(self, term: Term, lost_policy: LostPolicy) -> None:
        world = self._instance.world
        world.checker.on_overrun(self._instance, term)
        if lost_policy is LostPolicy.EXIT:
            world.on_death(self._instance)

    def submit(self, command: StoreCommand[object]) -> None:
        """Execute a command on its connection; a session's connection closes after `CloseSession`."""
        name = command.connection_name
        worker = self._workers.get(name)
        if worker is None:
            worker = self._workers[name] = Worker(self._instance, name)
        worker.submit(command)
        if isinstance(command, CloseSession):
            del self._workers[name]

    def _abandon(self, command: StoreCommand[object]) -> None:
        if (worker := self._workers.get(command.connection_name)) is not None:
            worker.abandon(command)

    def pause_worker(self, until: float) -> str:
        """Pause one thread with a connection: its commands wait. Return the connection's name."""
        if not self._workers:
            return "(it has none)"
        name = self._instance.rng.choice(list(self._workers))
        self._workers[name].paused_until = until
        return name
