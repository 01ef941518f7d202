"""What must never happen (docs/design.md, section 7), checked when it would happen.

I1 is checked at every start of a job and every eviction, I2 at every claim and guarded write, I4 at every claim.
An overlap that a limit in docs/protocol.md names is excused: the job that should have stopped has an excuse.
"""

from collections import Counter
from typing import TYPE_CHECKING

from masterjob.election.values import LostPolicy, Term
from tests.simulation.jobs import JobRun
from tests.simulation.story import Violation, readable

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance
    from tests.simulation.tables import StoredSession, Tables
    from tests.simulation.world import World

CLOCK_DIFFERENCE = 0.011
"""By how much two clocks may run apart, as a share, and a little for rounding."""

FROZEN = "its process was frozen for longer than its margin"
TWO_PRIMARIES = "after a promotion the old primary still had clients"


class InvariantChecker:
    """Knows the whole world and compares it with the promises."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.counts: Counter[str] = Counter()
        self.issued_terms: dict[str, int] = {}
        self.disabled_since: dict[str, float] = {}
        self.enabled_since: dict[str, float] = {}
        self.vacant_since: dict[str, float] = {}
        """When the last job of each lock ended."""
        self.granted_at: dict[str, float] = {}
        """When each lock was last claimed."""
        self.beat_at: dict[str, float] = {}
        """When each session was last opened or renewed, on any server."""
        self.granting_tables: dict[Term, Tables] = {}
        """The tables of the server that granted each term."""

    def on_heartbeat(self, session_id: str) -> float:
        """Note and return when a session was opened or renewed."""
        now = self.beat_at[session_id] = self._world.scheduler.now
        return now

    def on_renewal(self, tables: "Tables", session_id: str, row: "StoredSession") -> None:
        """Excuse nothing of two primaries any more: the current one confirms the session and its term."""
        if tables is not self._world.server.memory.tables:
            return
        for name, run in self._world.instances_by_name[row.instance].jobs.runs.items():
            lock = tables.locks.get(name)
            is_confirmed = lock is not None and (lock.holder, lock.term) == (session_id, run.term.number)
            if is_confirmed:
                run.excuses.pop(TWO_PRIMARIES, None)

    def on_eviction(self, session_id: str, row: "StoredSession") -> None:
        """Check that a session is evicted only when its lease has passed since its last heartbeat.

        That is the last one that this database knows of.
        """
        silence, lease = self._world.scheduler.now - row.renewed_at, row.lease_ms / 1000
        self._world.story.tell("session {} is evicted, {:.3f} s after its last heartbeat", session_id, silence)
        tolerance = CLOCK_DIFFERENCE if self._world.conditions.clock_spread else 1e-6
        if silence < lease * (1 - tolerance):
            raise Violation(
                f"I1: {session_id} was evicted {silence:.3f} s after a heartbeat; its lease is {lease} s"
            )

    def on_claim_of(self, server: str, tables: "Tables", noted_at: float) -> None:
        """Check the quarantine when a server grants a claim (3.8)."""
        lease = tables.incarnation.lease_ms / 1000
        passed = self._world.scheduler.now - noted_at
        if tables.incarnation.name != server:
            raise Violation(f"3.8: {server} granted a claim before its promotion was noted")
        if passed < lease * (1 - CLOCK_DIFFERENCE):
            raise Violation(
                f"3.8: {server} granted a claim {passed:.3f} s after its promotion; the longest lease is {lease} s"
            )

    def on_claim(self, term: Term, tables: "Tables", highest_terms: dict[str, int], *, enabled: bool) -> None:
        """Check I2 and I4 when a server grants a claim."""
        name = term.lock_name
        self.granting_tables[term] = tables
        if term.number <= highest_terms.get(name, 0):
            raise Violation(f"I2: term {term.number} of {name} was issued after {highest_terms[name]}")
        highest_terms[name] = term.number
        self.issued_terms[name] = max(term.number, self.issued_terms.get(name, 0))
        self.granted_at[name] = self._world.scheduler.now
        if not enabled:
            raise Violation(f"I4: {readable(term)} was granted on a disabled lock")

    def on_move(self, term: Term, *, may_move: bool) -> None:
        """Check that a move transfers exactly its term, between two live sessions (3.2)."""
        if not may_move:
            raise Violation(f"I2: a move of {readable(term)} changed what is not that term of that session")

    def on_guarded_write(self, term: Term, tables: "Tables") -> None:
        """Check I2 when a guarded transaction commits: its term holds the lock until then."""
        self.counts["guarded effect"] += 1
        guarded_writes, row = tables.guarded_writes, tables.locks.get(term.lock_name)
        if row is None or row.holder is None:
            raise Violation(f"I2: an effect of {readable(term)} was committed while the lock was free")
        if term.number < guarded_writes.get(term.lock_name, 0):
            raise Violation(
                f"I2: an effect of {readable(term)} came after one of {guarded_writes[term.lock_name]}"
            )
        guarded_writes[term.lock_name] = term.number

    def on_start(self, instance: "SimulatedInstance", run: JobRun) -> None:
        """Check I1 when a job starts."""
        name, now = run.term.lock_name, self._world.scheduler.now
        if until := self._world.failover.excused_until(instance, run.term):
            run.add_excuse(TWO_PRIMARIES, until)
        if run.excuses.get(TWO_PRIMARIES, 0.0) >= now:
            return
        for other in self._world.live_instances():
            other_run = other.jobs.runs.get(name)
            if other is instance or other_run is None or not other_run.is_running:
                continue
            if not other_run.is_excused(now):
                other_term = readable(other_run.term)
                raise Violation(
                    f"I1: {instance.name} starts {readable(run.term)} while {other.name} runs {other_term}"
                )
            self.counts["excused overlap"] += 1
            if self._world.conditions.lost_policies[name] is LostPolicy.EXIT and other_run.must_exit(now):
                tolerance = CLOCK_DIFFERENCE * self._world.conditions.longest_lease
                self._world.scheduler.after(tolerance, self._check_exit, other, other_run, run)

    def _check_exit(self, other: "SimulatedInstance", other_run: JobRun, run: JobRun) -> None:
        must_exit = other_run.must_exit(self._world.scheduler.now)
        if other.alive and other_run.is_running and run.is_running and must_exit:
            raise Violation(
                f"I1: {readable(other_run.term)} of {other.name} outlives its lease in spite of lostPolicy exit"
            )

    def on_end(self, lock_name: str) -> None:
        """Note that a job has ended."""
        self.vacant_since[lock_name] = self._world.scheduler.now

    def on_overrun(self, instance: "SimulatedInstance", term: Term) -> None:
        """Check I1 when the elector says that a job has outlived its lease."""
        run, now = instance.jobs.runs.get(term.lock_name), self._world.scheduler.now
        self._world.story.tell("{}: overrun of {}", instance.name, term)
        # A stop that returns at this very moment has taken the whole stop timeout, and no more.
        if run is not None and run.is_running and not run.is_excused(now) and run.stops_at > now:
            raise Violation(f"I1: {readable(term)} of {instance.name} outlived its lease")

    def on_switch(self, lock_name: str, *, enabled: bool) -> None:
        """Note that a lock was enabled or disabled."""
        now = self._world.scheduler.now
        if enabled:
            self.disabled_since.pop(lock_name, None)
            self.enabled_since[lock_name] = now
        else:
            self.disabled_since.setdefault(lock_name, now)

    def on_promotion(self, tables: "Tables") -> None:
        """Forget what a promoted replica does not know."""
        now = self._world.scheduler.now
        self.disabled_since = {name: now for name, row in tables.locks.items() if not row.enabled}
        for name, row in tables.locks.items():
            self.granted_at[name] = now
            if row.enabled:
                self.enabled_since[name] = now
