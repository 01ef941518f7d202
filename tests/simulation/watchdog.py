"""The watchdog's thread of one simulated instance, which matters only while the elector's thread is late."""

from typing import TYPE_CHECKING

from masterjob.election.core.events import Tick

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance


class Watchdog:
    """Ends the trust in place of the elector's thread."""

    def __init__(self, instance: "SimulatedInstance") -> None:
        self._instance = instance

    def arm(self) -> None:
        """Wait for the end of the trust or lease if it comes before the elector's thread runs again."""
        instance = self._instance
        expiry = instance.clock.world(instance.elector.next_expiry()) + 1e-6
        due = max(expiry, instance.watchdog_paused_until, instance.process_paused_until)
        if due < instance.elector_paused_until:
            instance.scheduler.at(due, self._on_deadline)

    def _on_deadline(self) -> None:
        instance, now = self._instance, self._instance.scheduler.now
        if not instance.alive or now >= instance.elector_paused_until:
            return
        is_paused = now < max(instance.watchdog_paused_until, instance.process_paused_until)
        if not is_paused and instance.elector.next_expiry() <= instance.clock.local(now):
            instance.step(Tick())
        self.arm()
