"""What goes wrong with the network of one instance, or of all."""

from random import Random

from masterjob.election.core.commands import Claim
from tests.simulation.fault_source import FaultSource
from tests.simulation.network import Connections, Cut, Disturbance

CUTS = (Cut.BOTH, Cut.BOTH, Cut.REQUESTS, Cut.REPLIES, Cut.RESETS)


class NetworkFaults(FaultSource):
    """Messages that are lost or late."""

    def cut_off(self, rng: Random) -> None:
        """Cut an instance off, in one direction or both."""
        self._cut(rng, rng.choice(CUTS), Connections.ALL)

    def cut_off_connection(self, rng: Random) -> None:
        """Cut off the heartbeats of an instance, or everything else."""
        self._cut(rng, rng.choice(CUTS), rng.choice((Connections.HEARTBEATS, Connections.CONTROL)))

    def _cut(self, rng: Random, cut: Cut, connections: Connections) -> None:
        if instance := self._choose_instance(rng):
            until = self._now + rng.choice((0.3, 1.0, 2.0)) * self._longest_lease * rng.random()
            instance.link.cut_off(cut, until, connections)
            instance.hinder(until, connections)
            self._world.story.tell_fault(
                "the network loses {} of {} on {} until {:.3f}",
                cut.value,
                instance.name,
                connections.value,
                until,
            )

    def delay_replies(self, rng: Random) -> None:
        """Delay the replies to an instance, perhaps to a claim for a lock that becomes free; then cut it off.

        Or its heartbeats are cut off at once, so that a reply can come after the end of the trust.
        """
        world, masters = self._world, [each for each in self._world.live_instances() if each.jobs.runs]
        others = [each for each in world.live_instances() if not each.jobs.runs]
        instance = rng.choice(others) if others and rng.random() < 0.5 else self._choose_instance(rng)
        if instance is None:
            return
        until = self._now + rng.uniform(0.1, 1.0) * self._longest_lease
        connections = rng.choice((Connections.ALL, Connections.CONTROL))
        instance.link.delay_replies(rng.choice((0.3, 1.5)) * self._longest_lease, until, connections)
        instance.hinder(until, connections)
        world.story.tell_fault(
            "the replies to {} on {} are late until {:.3f}", instance.name, connections.value, until
        )
        cut_until = until + 1.5 * self._longest_lease
        if connections is Connections.CONTROL:
            self._cut_heartbeats(rng, instance.name, rng.uniform(0, 0.5) * self._longest_lease, cut_until)
        elif rng.random() < 0.7:
            world.scheduler.at(until, self._cut_everything, instance.name, cut_until)
        if masters and instance not in masters and rng.random() < 0.5:
            for name in list(rng.choice(masters).jobs.runs):
                self._order_step_down(name)

    def disturb_claim(self, rng: Random) -> None:
        """Free a lock, and let a reply to a claim come late or never; perhaps without heartbeats meanwhile."""
        world = self._world
        masters = [each for each in world.live_instances() if each.jobs.runs]
        others = [each for each in world.live_instances() if not each.jobs.runs] or world.live_instances()
        if not masters or not others:
            return
        name, instance = rng.choice(list(rng.choice(masters).jobs.runs)), rng.choice(others)
        disturbance = Disturbance(reply_delay=rng.choice((None, 5.0 * rng.random(), 5.0 * rng.random())))
        instance.link.disturb_next(Claim, disturbance)
        world.story.tell_fault(
            "{} is asked on the spot to step down; the next claim of {} {}", name, instance.name, disturbance
        )
        self._order_step_down(name)
        if rng.random() < 0.7:
            self._cut_heartbeats(rng, instance.name, 0.1 * rng.random(), self._now + 1.5 * self._longest_lease)

    def _cut_heartbeats(self, rng: Random, name: str, delay: float, until: float) -> None:
        self._world.scheduler.after(delay, self.cut_now, name, rng.choice(CUTS), until, Connections.HEARTBEATS)

    def _cut_everything(self, name: str, until: float) -> None:
        self.cut_now(name, Cut.BOTH, until, Connections.ALL)

    def cut_now(self, name: str, cut: Cut, until: float, connections: Connections) -> None:
        """Cut off the instance of this name as a part of another fault."""
        instance = self._world.instances_by_name[name]
        instance.link.cut_off(cut, until, connections)
        if instance.link.cut_until == until:
            instance.hinder(until, connections)
            self._world.story.tell(
                "the network loses {} of {} on {} until {:.3f}", cut.value, name, connections.value, until
            )

    def brownout(self, rng: Random) -> None:
        """For a while most messages are late: what was sent is done, but the answers take their time."""
        until = self._now + rng.uniform(0.5, 3)
        self._world.network.brownout_until = until
        self._world.story.tell_fault("most messages are late until {:.3f}", until)
