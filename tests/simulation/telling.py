"""Tells a violation to somebody who never saw the world: setting, events, beliefs, and the rule."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from masterjob.election.core.session import Session
from masterjob.election.core.state import HeldPhase, Serving, Stopping
from tests.simulation.scenario import WORLD_VERSION
from tests.simulation.story import Violation, readable

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance
    from tests.simulation.world import World

RULES: Mapping[str, str] = MappingProxyType(
    {
        "I1": "no two instances are between the call of start and the return of stop for one lock, unless a "
        "process is frozen for longer than the margin, a stop takes longer than the stop timeout, or the database "
        "loses what it confirmed",
        "I2": "term numbers never repeat and never decrease, and guarded writes of two terms never interleave",
        "I3": "with a live database and one live candidate, an enabled lock has a master within the lease, one "
        "heartbeat interval and a second",
        "I4": "once a disable has returned, no claim succeeds, and the master has stopped within one heartbeat "
        "interval and the stop timeout",
        "I5": "an instance knows within two heartbeats of everything that it holds in the database",
    }
)


def tell(violation: Violation) -> str:
    """Return the whole story of a violation, from the setting to the rule that was broken."""
    world = violation.world
    if world is None:
        return str(violation)
    rule = RULES.get(violation.rule)
    return "\n".join(
        (
            f"--- {world.scenario} (world {WORLD_VERSION})",
            *_describe_setting(world),
            "--- What happens",
            *violation.story,
            f"--- What everybody believes at {world.now:.3f} s",
            *_describe_beliefs(world),
            "--- What is wrong",
            str(violation),
            *((f"The rule {violation.rule}: {rule}.",) if rule else ()),
        )
    )


def _describe_setting(world: "World") -> tuple[str, ...]:
    """Return the sentences before a story: who takes part in what."""
    conditions = world.conditions
    lines = [f"Instances: {conditions.fleet}. The weather is {conditions.weather.value}."]
    for name in conditions.lock_names:
        kind = "command" if name in conditions.commands else "Python job"
        lines.append(f"The lock {name} has a {kind}; lostPolicy {conditions.lost_policies[name].value}.")
    timings = dict.fromkeys([world.first_timings[name] for name in conditions.lock_names])
    lines += [f"At first {_locks_of(world, timing)}: {readable(timing)}." for timing in timings]
    return tuple(lines)


def _locks_of(world: "World", timing: object) -> str:
    return ", ".join(name for name in world.conditions.lock_names if world.first_timings[name] == timing)


def _describe_beliefs(world: "World") -> tuple[str, ...]:
    """Return the sentences after a story: what the instances and the database believe now."""
    lines: list[str] = []
    for instance in world.live_instances():
        lines += _beliefs_of(instance)
    tables, database_now = world.server.memory.tables, world.server.clock()
    for name, row in tables.locks.items():
        if name in world.conditions.lock_names:
            holder = f"held by session {row.holder} in term {row.term % 10**8}" if row.holder else "free"
            lines.append(f"the database: {name} is {'' if row.enabled else 'disabled and '}{holder}")
    for id_, session in tables.sessions.items():
        silence = (database_now - session.heartbeat_ms) / 1000
        lines.append(
            f"the database: session {id_} has a lease of {session.lease_ms / 1000:g} s; by its own clock the last "
            f"heartbeat was {silence:.3f} s ago"
        )
    return tuple(lines)


def _beliefs_of(instance: "SimulatedInstance") -> Iterator[str]:
    state = instance.elector._state
    for run in instance.jobs.runs.values():
        stopping = f", and was told to stop it at {run.stopping_since:.3f} s" if run.stopping_since else ""
        verb = "runs" if run.is_running else "is about to start"
        yield f"{instance.name} {verb} the job of {readable(run.term)}{stopping}"
    for lock in state.locks.values():
        if isinstance(lock.phase, HeldPhase):
            verb = {Serving: "believes to be master in", Stopping: "stops"}.get(type(lock.phase), "releases")
            yield f"{instance.name} {verb} {readable(lock.phase.term)}: {lock.explanation}"
            yield from (f"    {_describe_trust(instance, session)}" for session in lock.phase.sessions)
    if instance.process_paused_until > instance.scheduler.now:
        yield f"{instance.name} is frozen until {instance.process_paused_until:.3f} s"


def _describe_trust(instance: "SimulatedInstance", session: Session) -> str:
    trusted_until, expires_at = (
        instance.clock.world(local) for local in (session.trusted_until, session.expires_at)
    )
    retired = ", and knows that it was evicted or closed" if session.is_retired else ""
    sent = instance.clock.world(session.trusted_until - session.timing.trust_duration)
    return (
        f"it trusts session {session.id} until {trusted_until:.3f} s, by its last confirmed heartbeat, which it "
        f"sent at {sent:.3f} s; the lease ends at {expires_at:.3f} s{retired}"
    )
