"""How messages between an instance and its database are delayed, lost and cut off."""

from enum import Enum
from random import Random

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


class Network:
    """The conditions between all instances and all servers."""

    def __init__(self, scheduler: Scheduler, rng: Random, conditions: Conditions) -> None:
        self._scheduler = scheduler
        self._rng = rng
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

    def draw_delay(self) -> float:
        """Return how long the next message takes."""
        rng = self._rng
        if self._scheduler.now < self.brownout_until:
            if rng.random() < 0.7:
                return rng.uniform(0.0, 6.0)
        elif self.slow_rate and rng.random() < self.slow_rate:
            return rng.uniform(0.0, self.max_delay)
        return 0.0005 + 0.0095 * rng.random()

    def draw_loss(self) -> bool:
        """Return whether the next message is lost."""
        return self.loss_rate > 0 and self._rng.random() < self.loss_rate


class Link:
    """One instance's connection to the network."""

    def __init__(self, scheduler: Scheduler, rng: Random, network: Network) -> None:
        self._scheduler = scheduler
        self._rng = rng
        self._network = network
        self.cut = Cut.NONE
        self.cut_until = 0.0
        self._late_until = 0.0
        self._max_lateness = 0.0
        self._passes_first_requests = False
        self._used_connections: set[str] = set()

    def cut_off(self, cut: Cut, until: float) -> None:
        """Lose these messages until then."""
        if self._network.is_clear:
            return
        self.cut, self.cut_until = cut, until
        # Over TCP a connection soon stalls without replies, and no other can be made.
        self._passes_first_requests = self._rng.random() < 0.5
        self._used_connections.clear()

    def delay_replies(self, most: float, until: float) -> None:
        """Delay the replies to it by up to ``most`` seconds until then."""
        self._max_lateness, self._late_until = most, until

    def draw_lateness(self) -> float:
        """Return how much longer than others a reply takes now."""
        if self._scheduler.now >= self._late_until:
            return 0.0
        return self._rng.uniform(0, self._max_lateness)

    def heal(self) -> None:
        """End the cut."""
        self.cut_until = self._late_until = 0.0

    @property
    def is_cut(self) -> bool:
        """Whether messages are lost now."""
        return self._scheduler.now < self.cut_until

    def loses_request(self, connection: str) -> bool:
        """Return whether a request that is sent now is lost."""
        if self._scheduler.now >= self.cut_until:
            return False
        if self.cut is Cut.REPLIES:
            if self._passes_first_requests and connection in self._used_connections:
                return True
            self._used_connections.add(connection)
            return False
        return True

    def loses_reply(self) -> bool:
        """Return whether a reply that arrives now is lost."""
        return self._scheduler.now < self.cut_until and self.cut is not Cut.REQUESTS

    @property
    def lets_requests_pass(self) -> bool:
        """Whether its requests may take effect although it sees no replies."""
        return self.is_cut and self.cut is Cut.REPLIES
