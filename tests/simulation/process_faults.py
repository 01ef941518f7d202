"""What goes wrong with processes: they are killed, frozen, late in a thread, or started."""

from random import Random
from typing import TYPE_CHECKING

from masterjob.election.core.events import JobStartFailed
from tests.simulation.conditions import Weather
from tests.simulation.fault_source import FaultSource
from tests.simulation.instance import LATEST_WAKING
from tests.simulation.invariants import CLOCK_DIFFERENCE, FROZEN
from tests.simulation.jobs import CANNOT_RUN

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance

MAX_EXTRA_INSTANCES = 2


class ProcessFaults(FaultSource):
    """The faults of instances and their threads."""

    def kill(self, rng: Random) -> None:
        """Kill a process."""
        if instance := self._choose_instance(rng):
            self._world.story.tell_fault("{} is killed", instance.name)
            self._world.on_death(instance)

    def shut_down(self, rng: Random) -> None:
        """Ask an instance to leave; kill it if that takes too long."""
        if (instance := self._choose_instance(rng)) and not instance.shutting_down:
            self._world.story.tell_fault("{} is asked to leave", instance.name)
            instance.shut_down()
            self._world.scheduler.after(2 * self._longest_lease, self._world.on_death, instance)

    def boot_another(self, _rng: Random) -> None:
        """Start one more instance."""
        self._world.boot_if_fewer(self._world.conditions.fleet + MAX_EXTRA_INSTANCES)

    def freeze(self, rng: Random) -> None:
        """Freeze a process: in calm weather for less than the margin, together with the stop that follows."""
        instance = self._choose_instance(rng)
        if instance is None:
            return
        if self._world.weather is Weather.CALM:
            longest = self._longest_harmless_pause(instance)
        else:
            longest = rng.choice((1.0, 3.0, 10.0))
        if longest > 0:
            until = self._now + rng.uniform(0, longest)
            instance.last_pause, instance.last_pause_duration = self._now, until - self._now + LATEST_WAKING
            self._world.story.tell_fault("the process of {} is frozen until {:.3f}", instance.name, until)
            if self._world.weather is Weather.WILD:
                self._excuse(instance, FROZEN, until)
            instance.freeze(until, can_exit=False)

    def _longest_harmless_pause(self, instance: "SimulatedInstance") -> float:
        """Return the half of the shortest stop timeout; 0 if a pause or a stop may be within the same margin."""
        runs = instance.jobs.runs.values()
        if self._now < instance.last_pause + 2 * self._longest_lease or any(run.stopping_since for run in runs):
            return 0.0
        return 0.5 * min((instance.jobs.stop_timeouts[run.term.lock_name] for run in runs), default=1.0)

    def stall(self, rng: Random) -> None:
        """Block all Python threads for long by native code; only shims and the exit watchdog work."""
        if instance := self._choose_instance(rng):
            until = self._now + rng.uniform(0, 2 * self._longest_lease)
            self._world.story.tell_fault("native code blocks the threads of {}", instance.name)
            self.stall_now(instance, until)

    def stall_now(self, instance: "SimulatedInstance", until: float) -> None:
        """Do the same as a part of another fault."""
        if self._world.faults_enabled and instance.alive:
            self._excuse(instance, CANNOT_RUN, until)
            self._world.story.tell("no Python thread of {} runs until {:.3f}", instance.name, until)
            instance.freeze(until, can_exit=True)

    def _excuse(self, instance: "SimulatedInstance", excuse: str, until: float) -> None:
        """Excuse its jobs until it has woken and stopped them, but no command: its shim stops it in time."""
        for name, run in instance.jobs.runs.items():
            stopped_at = until + LATEST_WAKING + instance.jobs.stop_timeouts[name] * (1 + CLOCK_DIFFERENCE)
            if name not in self._world.conditions.commands:
                run.add_excuse(excuse, stopped_at)

    def pause_elector(self, rng: Random) -> None:
        """Pause the elector's thread alone."""
        instance = self._choose_instance(rng)
        if instance is not None and self._now >= instance.watchdog_paused_until:
            until = self._now + rng.uniform(0, 2 * self._longest_lease)
            self._world.story.tell_fault("the elector's thread of {} is late until {:.3f}", instance.name, until)
            instance.pause_elector(until)

    def pause_watchdog(self, rng: Random) -> None:
        """Pause the watchdog's thread alone."""
        instance = self._choose_instance(rng)
        if instance is not None and self._now >= instance.elector_paused_until:
            until = self._now + rng.uniform(0, 2 * self._longest_lease)
            self._world.story.tell_fault("the watchdog of {} is late until {:.3f}", instance.name, until)
            instance.pause_watchdog(until)

    def pause_worker(self, rng: Random) -> None:
        """Pause the thread of one connection."""
        if instance := self._choose_instance(rng):
            until = self._now + rng.uniform(0, 6)
            name = instance.pause_worker(until)
            self._world.story.tell_fault(
                "the thread of {}'s connection {} is late until {:.3f}", instance.name, name, until
            )

    def end_command(self, rng: Random) -> None:
        """End a command without its controller, as if its shim was killed: the job reports a failure."""
        runs = [
            (instance, run)
            for instance in self._world.live_instances()
            for name, run in instance.jobs.runs.items()
            if name in self._world.conditions.commands and run.is_running
        ]
        if runs:
            instance, run = rng.choice(runs)
            self._world.story.tell_fault("the command of {} on {} is killed", run.term, instance.name)
            run.is_running = False
            instance.jobs.report(run, JobStartFailed(run.term, "the command was killed"), rng.uniform(0, 0.1))
