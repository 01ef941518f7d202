"""The connections of one simulated instance: commands in order, through a bad network."""

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from masterjob.election.core.commands import Evict, Release, StoreCommand
from masterjob.election.core.events import Failure, Reply
from masterjob.election.core.session import NEVER
from masterjob.election.history_writer import AppendHistory
from tests.simulation.network import QUICK, Connections, Disturbance

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance

RECOVERY = 2.0
"""Seconds after a failure until an instance does again what it should (the longest delay of a retry)."""


class Worker:
    """A thread with one connection, which executes commands in order."""

    def __init__(self, instance: "SimulatedInstance", connection: str) -> None:
        self._instance = instance
        self._connection = connection
        self._pending: deque[StoreCommand[object]] = deque()
        self._in_flight: StoreCommand[object] | None = None
        self.paused_until = 0.0

    def submit(self, command: StoreCommand[object]) -> None:
        """Execute the command after those in the queue."""
        if self._in_flight is None:
            self._send(command)
        else:
            self._pending.append(command)

    def abandon(self, command: StoreCommand[object]) -> None:
        """Give the command up, and continue with the next one on a fresh connection."""
        self._instance.on_failure(command)
        if command is self._in_flight:
            self._next()
        elif command in self._pending:
            self._pending.remove(command)

    def _give_up(self, command: StoreCommand[object]) -> None:
        if command is self._in_flight:
            self.abandon(command)

    def _next(self) -> None:
        self._in_flight = None
        if self._pending:
            self._send(self._pending.popleft())

    def _send(self, command: StoreCommand[object]) -> None:
        self._in_flight = command
        instance, now = self._instance, self._instance.scheduler.now
        paused_until = max(self.paused_until, instance.process_paused_until)
        if now < paused_until:
            self.paused_until = 0.0
            instance.scheduler.at(paused_until, self._transmit, command)
        else:
            self._transmit(command)

    def _transmit(self, command: StoreCommand[object]) -> None:
        instance, world = self._instance, self._instance.world
        if not instance.alive or self._in_flight is not command:
            return
        link, scheduler = instance.link, instance.scheduler
        disturbance = link.take_disturbance(command)
        if disturbance.on_sent is not None:
            disturbance.on_sent()
        if isinstance(command, AppendHistory):  # the elector does not wait for it, so the driver's timeout ends it
            scheduler.after(command.timeout / instance.clock.rate, self._give_up, command)
        is_lost = disturbance.request_delay == NEVER
        if is_lost or link.loses_request(self._connection) or link.draw_loss():
            self._mark_late(command)
            world.story.tell_fate("{}: its {} is lost", instance.name, command)
            if instance.rng.random() < 0.3 and link.is_cut_for(self._connection):
                # The kernel sends it again when the cut ends.
                scheduler.at(link.cut_until + link.draw_delay(), self._arrive, command, disturbance)
            return
        delay = link.draw_delay() + disturbance.request_delay
        if delay > QUICK:
            self._mark_late(command)
        scheduler.after(delay, self._arrive, command, disturbance)

    def _arrive(self, command: StoreCommand[object], disturbance: Disturbance) -> None:
        instance = self._instance
        if not instance.server.receive(command, partial(self._respond, command, disturbance), instance.node_skew):
            self._mark_late(command)

    def _respond(self, command: StoreCommand[object], disturbance: Disturbance, outcome: Reply | Failure) -> None:
        instance, link, story = self._instance, self._instance.link, self._instance.world.story
        if disturbance.on_executed is not None:
            disturbance.on_executed()
        if disturbance.reply_delay is None or link.resets(self._connection):
            outcome = Failure(command, "the connection was reset")
        if isinstance(outcome, Failure):
            instance.on_failure(command)
            story.tell_fate("{}: its {} fails: {}", instance.name, command, outcome.error)
        lateness = disturbance.reply_delay or 0.0
        if lateness == NEVER or link.loses_reply(self._connection) or link.draw_loss():
            self._mark_late(command)
            story.tell_fate("{}: its {} is executed, but the reply is lost", instance.name, command)
            return
        delay = link.draw_delay() + (lateness or link.draw_lateness(self._connection))
        if delay > QUICK:
            self._mark_late(command)
            story.tell_fate("{}: its {} is executed; the reply takes {:.3f} s", instance.name, command, delay)
        instance.scheduler.after(delay, self._on_outcome, command, outcome)

    def _mark_late(self, command: StoreCommand[object]) -> None:
        """Note that the instance waits for a command that gets no timely answer, and then retries."""
        scheduler = self._instance.scheduler
        timeout = command.timeout / self._instance.clock.rate
        waits = 2 * timeout if isinstance(command, Evict | Release) else timeout
        self._instance.hinder(scheduler.now + waits + RECOVERY, Connections.of(self._connection))

    def _on_outcome(self, command: StoreCommand[object], outcome: Reply | Failure) -> None:
        if command is self._in_flight:
            instance = self._instance
            if instance.process_paused_until > instance.scheduler.now:
                instance.scheduler.at(instance.process_paused_until, self._on_outcome, command, outcome)
                return
            self._next()
            instance.submit(outcome)
