"""What must happen within the promised time (docs/design.md, section 7): I3, I4 and I5.

That time begins when nothing hinders the instance concerned any more: it runs, its messages arrive quickly, and it
has no failed call to retry.
"""

from typing import TYPE_CHECKING

from masterjob.election.core.session import NEVER
from masterjob.election.core.state import Serving
from masterjob.election.values import Term
from tests.simulation.invariants import CLOCK_DIFFERENCE
from tests.simulation.jobs import JobRun
from tests.simulation.story import Violation, readable

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance
    from tests.simulation.tables import StoredLock
    from tests.simulation.world import World

CHECK_INTERVAL = 0.25
"""Seconds between two checks."""

MESSAGES = 0.3
"""Seconds allowed for messages and for the jitter of several claims."""


class Promises:
    """Compares the time that has passed with what was promised."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._known = world.checker
        self._due_since: dict[str, float] = {}
        """Since when a lock that was held without being run should have had a master, in spite of its holder."""
        self._disowned_since: dict[Term, float] = {}
        """Since when the database does not confirm a term whose job runs."""
        self._quarantined_at = 0.0
        """When nothing could be claimed, at the last check."""

    def check(self) -> None:
        """Check I3, I4 and I5 now."""
        world = self._world
        if not world.server.memory.may_claim:
            self._quarantined_at = world.scheduler.now + CHECK_INTERVAL
        if world.steady_since > world.scheduler.now:
            return
        tables = world.server.memory.tables
        instances = [each for each in world.live_instances() if each.unhindered_since <= world.scheduler.now]
        self._check_quarantine(instances)
        for name in world.conditions.lock_names:
            row = tables.locks.get(name)
            for instance in world.live_instances():
                run = instance.jobs.runs.get(name)
                if run is not None and not run.overruns:
                    self._check_stop(instance, run)
                    self._check_run(instance, run, row)
            if row is not None and not world.server.is_locked(name):
                self._check_holder(name, row, instances)
                if name not in self._known.disabled_since:
                    self._check_vacancy(name, row, instances)

    def _check_quarantine(self, instances: list["SimulatedInstance"]) -> None:
        """Check I3 after a promotion: an unhindered instance ends the quarantine after the longest lease."""
        world = self._world
        watched_since = min((each.unhindered_since for each in instances if not each.shutting_down), default=NEVER)
        since = max(world.steady_since, watched_since)
        bound = world.conditions.longest_lease + world.conditions.longest_heartbeat
        passed = world.scheduler.now - since
        if not world.server.memory.may_claim and passed > bound * (1 + CLOCK_DIFFERENCE) + 1:
            raise Violation(f"I3: the quarantine of {world.server.memory.name} lasts for {passed:.3f} s")

    def _check_stop(self, instance: "SimulatedInstance", run: JobRun) -> None:
        """Check I4: a disabled lock has no master after a heartbeat and a stop."""
        world, name = self._world, run.term.lock_name
        if instance.hears_since > world.scheduler.now:
            return
        disabled_since = self._known.disabled_since.get(name, NEVER)
        since = max(world.steady_since, instance.hears_since, run.ordered_at, disabled_since)
        bound = world.conditions.longest_heartbeat + instance.jobs.stop_timeouts[name]
        if world.scheduler.now - since > bound * (1 + CLOCK_DIFFERENCE) + MESSAGES:
            raise Violation(f"I4: {instance.name} still runs {readable(run.term)} after its lock was disabled")

    def _check_run(self, instance: "SimulatedInstance", run: JobRun, row: "StoredLock | None") -> None:
        """Check the half of I5 that stops what is not held, and the stop timeout."""
        world, name = self._world, run.term.lock_name
        now, heartbeat = world.scheduler.now, world.conditions.longest_heartbeat
        if instance.unhindered_since > now:
            return
        since = max(world.steady_since, instance.unhindered_since, run.ordered_at)
        stop = instance.jobs.stop_timeouts[name]
        holder = self._instance_of(row.holder) if row is not None else None
        lock = instance.elector._state.locks.get(name)
        sessions = lock.phase.sessions if lock is not None and isinstance(lock.phase, Serving) else ()
        is_confirmed = row is not None and row.term == run.term.number and holder is instance
        if row is not None and sessions and self._known.counts["server"] == 1:  # a replica may lack a move
            is_confirmed = is_confirmed and row.holder in {session.id for session in sessions}
        if not is_confirmed:
            since = max(since, self._disowned_since.setdefault(run.term, now))
            if now - since > (2 * heartbeat + stop) * (1 + CLOCK_DIFFERENCE) + MESSAGES:
                raise Violation(
                    f"I5: {instance.name} still runs {readable(run.term)}, which the database does not confirm"
                )
        else:
            self._disowned_since.pop(run.term, None)
        if any(stop > session.timing.stop_timeout for session in sessions):
            raise Violation(f"{instance.name} lets {name} stop for longer than its lease leaves")

    def _check_holder(self, name: str, row: "StoredLock", instances: list["SimulatedInstance"]) -> None:
        """Check the half of I5 that releases what is not run."""
        world, holder = self._world, self._instance_of(row.holder)
        if holder is None or holder not in instances or name in holder.jobs.runs:
            return
        if row.holder not in {session.id for session in holder.elector._state.all_sessions()}:
            return  # a promoted replica has brought back a session that was closed; it is evicted after its lease
        since = max(
            world.steady_since,
            holder.unhindered_since,
            self._known.granted_at.get(name, 0.0),
            holder.jobs.ended_at.get(name, 0.0),
            world.server.rows_free_since.get(name, 0.0),
        )
        if (
            world.scheduler.now - since
            > 2 * world.conditions.longest_heartbeat * (1 + CLOCK_DIFFERENCE) + 1 + MESSAGES
        ):
            raise Violation(f"I5: {name} is held by {holder.name}, which does not run it")

    def _check_vacancy(self, name: str, row: "StoredLock", instances: list["SimulatedInstance"]) -> None:
        """Check I3: an enabled lock that an unhindered candidate waits for soon has a master."""
        world = self._world
        if any(name in instance.jobs.runs for instance in world.live_instances()):
            return
        candidate_since = min(
            (
                max(each.unhindered_since, each.resting_until.get(name, 0.0))
                for each in instances
                if not each.shutting_down and name not in each.absent_from
            ),
            default=NEVER,
        )
        since = max(
            world.steady_since,
            candidate_since,
            self._quarantined_at,
            self._known.vacant_since.get(name, 0.0),
            self._known.enabled_since.get(name, 0.0),
            world.server.rows_free_since.get(name, 0.0),
        )
        lease, holder = world.conditions.longest_lease, self._instance_of(row.holder)
        if row.holder is None:
            since = max(since, self._due_since.get(name, 0.0))
        else:
            row_free_since = world.server.rows_free_since.get(row.holder, 0.0)
            since = max(since, self._known.granted_at.get(name, 0.0), row_free_since)
            if holder is None or holder not in instances:
                since = max(since, self._known.beat_at.get(row.holder, 0.0))
                if holder is not None:
                    self._due_since[name] = world.scheduler.now + CHECK_INTERVAL
                    if holder.link.lets_heartbeats_pass:
                        return
            self._due_since[name] = max(since, self._due_since.get(name, 0.0))
        bound = lease + world.conditions.longest_heartbeat
        beat_at = self._known.beat_at.get(row.holder or "", since)
        if world.conditions.node_skew or world.server.clock.stepped_at >= min(since, beat_at) - lease:
            bound += lease / 4  # the age of the last heartbeat is not known
        if world.scheduler.now - since > bound * (1 + CLOCK_DIFFERENCE) + 1:
            raise Violation(
                f"I3: {name} has had no master for {world.scheduler.now - since:.3f} s; the database names "
                f"{holder.name if holder else row.holder}"
            )

    def describe_unsettled(self) -> str:
        """Return which lock does not run exactly where the database says; an empty text if there is none."""
        tables = self._world.server.memory.tables
        for name in self._world.conditions.lock_names:
            runs = [
                (each.name, run.term)
                for each in self._world.live_instances()
                if (run := each.jobs.runs.get(name)) is not None
            ]
            row = tables.locks.get(name)
            holder = self._instance_of(row.holder) if row is not None else None
            if row is None or holder is None or runs != [(holder.name, Term(name, row.term))]:
                return f"{name} runs as {runs}, the database names {holder.name if holder else None}"
        return ""

    def _instance_of(self, session_id: str | None) -> "SimulatedInstance | None":
        session = self._world.server.memory.tables.sessions.get(session_id or "")
        live = self._world.instances_by_name.get(session.instance) if session is not None else None
        return live if live is not None and live.alive else None
