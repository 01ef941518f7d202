"""How messages between an instance and its database are delayed, lost and cut off."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random

from masterjob.election.core.commands import CONTROL_CONNECTION, StoreCommand
from masterjob.election.core.session import NEVER
from tests.simulation.clock import Scheduler
from tests.simulation.conditions import Conditions

QUICK = 0.05
"""Seconds that a message may take without counting as late."""


class Cut(Enum):
    """Which messages of a cut-off instance are lost."""

    NONE = "nothing"
    BOTH = "both ways"
    REQUESTS = "its requests"
    REPLIES = "the replies to it"
    RESETS = "the connections, after each call,"


class Connections(Enum):
    """The connections of an instance that a fault concerns."""

    ALL = "all connections"
    HEARTBEATS = "the connections of the heartbeats"
    CONTROL = "the connection of everything except heartbeats"

    @classmethod
    def of(cls, connection: str) -> "Connections":
        """Return which of the two kinds the connection of this name is."""
        return cls.CONTROL if connection == CONTROL_CONNECTION else cls.HEARTBEATS

    def include(self, connection: str) -> bool:
        """Return whether the connection of this name is one of them."""
        return self in (Connections.ALL, Connections.of(connection))


@dataclass(frozen=True)
class Disturbance:
    """What happens to one command. A delay of `NEVER` seconds loses the message."""

    request_delay: float = 0.0
    reply_delay: float | None = 0.0
    """None: the connection breaks after the execution."""
    on_sent: Callable[[], None] | None = None
    on_executed: Callable[[], None] | None = None

    def __str__(self) -> str:
        if self.reply_delay is None:
            return "is executed, and its connection breaks"
        delay, what = max((self.request_delay, "request"), (self.reply_delay, "reply"))
        return f"loses its {what}" if delay == NEVER else f"has a {what} that is {delay:.3f} s late"


UNDISTURBED = Disturbance()


class Network:
    """The conditions between all instances and all servers."""

    def __init__(self, conditions: Conditions) -> None:
        self.loss_rate = conditions.loss_rate
        self.slow_rate = conditions.slow_rate
        self.max_delay = conditions.max_delay
        self.brownout_until = 0.0
        self.is_clear = False

    def clear(self) -> None:
        """Lose and delay nothing from now on."""
        self.loss_rate = self.slow_rate = 0.0
        self.brownout_until = 0.0
        self.is_clear = True


class Link:
    """One instance's connection to the network."""

    def __init__(self, scheduler: Scheduler, rng: Random, network: Network) -> None:
        self._scheduler = scheduler
        self._rng = rng
        self._network = network
        self._cut = Cut.NONE
        self._cut_connections = Connections.ALL
        self.cut_until = 0.0
        self._late_until = 0.0
        self._late_connections = Connections.ALL
        self._max_lateness = 0.0
        self._passes_first_requests = False
        self._used_connections: set[str] = set()
        self._next: dict[type[StoreCommand[object]], Disturbance] = {}

    # --- faults ---

    def cut_off(self, cut: Cut, until: float, connections: Connections = Connections.ALL) -> None:
        """Lose these messages until then."""
        if self._network.is_clear:
            return
        self._cut, self.cut_until, self._cut_connections = cut, until, connections
        # Over TCP a connection soon stalls without replies, and no other can be made.
        self._passes_first_requests = self._rng.random() < 0.5
        self._used_connections.clear()

    def delay_replies(self, most: float, until: float, connections: Connections = Connections.ALL) -> None:
        """Delay the replies to it by up to ``most`` seconds until then."""
        self._max_lateness, self._late_until, self._late_connections = most, until, connections

    def disturb_next(self, kind: type[StoreCommand[object]], disturbance: Disturbance) -> None:
        """Disturb the next command of this kind."""
        if not self._network.is_clear:
            self._next[kind] = disturbance

    def heal(self) -> None:
        """End all that concerns this instance alone."""
        self.cut_until = self._late_until = 0.0
        self._next.clear()

    # --- messages ---

    def draw_delay(self) -> float:
        """Return how long the next message takes."""
        network, rng = self._network, self._rng
        if self._scheduler.now < network.brownout_until:
            if rng.random() < 0.7:
                return rng.uniform(0.0, 6.0)
        elif network.slow_rate and rng.random() < network.slow_rate:
            return rng.uniform(0.0, network.max_delay)
        return 0.0005 + 0.0095 * rng.random()

    def draw_loss(self) -> bool:
        """Return whether the next message is lost by chance."""
        return self._network.loss_rate > 0 and self._rng.random() < self._network.loss_rate

    def take_disturbance(self, command: StoreCommand[object]) -> Disturbance:
        """Return what happens to a command that is sent now; the next one of its kind is not disturbed."""
        return self._next.pop(type(command), UNDISTURBED) if self._next else UNDISTURBED

    def draw_lateness(self, connection: str) -> float:
        """Return how much longer than others a reply takes now."""
        if self._scheduler.now >= self._late_until or not self._late_connections.include(connection):
            return 0.0
        return self._rng.uniform(0, self._max_lateness) if self._rng.random() < 0.5 else 0.0

    @property
    def is_cut(self) -> bool:
        """Whether no connection works now."""
        return self._scheduler.now < self.cut_until and self._cut_connections is Connections.ALL

    def is_cut_for(self, connection: str) -> bool:
        """Return whether messages of a connection are lost now."""
        return self._scheduler.now < self.cut_until and self._cut_connections.include(connection)

    def loses_request(self, connection: str) -> bool:
        """Return whether a request that is sent now is lost."""
        if self._scheduler.now >= self.cut_until or not self._cut_connections.include(connection):
            return False
        if self._cut is Cut.REPLIES:
            if self._passes_first_requests and connection in self._used_connections:
                return True
            self._used_connections.add(connection)
            return False
        return self._cut is not Cut.RESETS

    def loses_reply(self, connection: str) -> bool:
        """Return whether a reply that arrives now is lost."""
        return self.is_cut_for(connection) and self._cut not in (Cut.REQUESTS, Cut.RESETS)

    def resets(self, connection: str) -> bool:
        """Return whether the connection breaks instead of carrying a reply."""
        return self.is_cut_for(connection) and self._cut is Cut.RESETS

    @property
    def lets_heartbeats_pass(self) -> bool:
        """Whether its heartbeats may take effect although it sees no replies to them."""
        return (
            self._scheduler.now < self.cut_until
            and self._cut in (Cut.REPLIES, Cut.RESETS)
            and self._cut_connections is not Connections.CONTROL
        )
