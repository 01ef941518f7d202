"""The checker: a pure function of an event log and the guarantees, independent of the code under test.

These are the guarantees and their only exceptions:

    I1  runs of one lock do not overlap                      except a worker paused for longer than the margin
    I2  guarded effects of two terms do not interleave       no exception
    I3  an enabled lock has a run within lease + heartbeat   unless no worker could take it all that time
        + a second
    I4  a disabled lock has none after heartbeat + stop      unless the worker could not learn of it
        timeout

The machine itself may pause a worker: that counts as a pause if the worker noticed it. While the database or the
network of a worker is disturbed, I3 and I4 are not checked; I1 and I2 always are.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults.events import Effect, EventLog, JobRun, Span, difference, intersection, length, union

CLOCK_TOLERANCE = 0.002
"""Seconds that two readings of the clock for the same moment may differ."""


@dataclass(frozen=True, slots=True)
class Guarantees:
    """The timing of all workers, in seconds, and the limits that follow from it."""

    heartbeat: float
    lease: float
    stop_timeout: float
    tolerance: float = 0.2
    """Seconds that a busy machine may need for one step, such as the record of a stop."""

    @property
    def margin(self) -> float:
        return self.stop_timeout + 0.02 * self.lease

    @property
    def max_gap(self) -> float:
        return self.lease + self.heartbeat + 0.8 + self.tolerance

    @property
    def max_stop_time(self) -> float:
        return self.heartbeat + self.stop_timeout + self.tolerance


@dataclass(frozen=True, slots=True)
class Failover:
    """A change from one run to the next: how long nothing ran, and what ended the previous run."""

    at: float
    duration: float
    cause: str
    before: str
    after: str


def find_violations(event_log: EventLog, guarantees: Guarantees) -> list[str]:
    """Return a sentence for each violation."""
    checker = _Checker(event_log, guarantees)
    checks = (
        checker.overlaps(),
        checker.terms(),
        checker.stale_effects(),
        checker.gaps(),
        checker.ignored_disables(),
    )
    return list(itertools.chain(*checks))


def failovers(event_log: EventLog) -> list[Failover]:
    """Return all changes of master, in order."""
    return [_failover(event_log, before, after) for before, after in itertools.pairwise(event_log.runs())]


def _failover(event_log: EventLog, before: JobRun, after: JobRun) -> Failover:
    """Return a change of master; a master replaced while it was paused ended at its pause, not its late stop."""
    ended_at, cause = before.ended_at, before.cause
    for begin, end in event_log.spans("paused", "resumed", before.who):
        if before.started_at < begin < after.started_at < end:
            ended_at, cause = begin, "paused"
    return Failover(after.started_at, after.started_at - ended_at, cause, before.who, after.who)


class _Checker:
    def __init__(self, event_log: EventLog, guarantees: Guarantees) -> None:
        self._event_log = event_log
        self._guarantees = guarantees
        self._runs = event_log.runs()
        self._pauses = {who: self._long_pauses(who) for who in event_log.workers()}

    def _long_pauses(self, who: str) -> list[Span]:
        return [pause for pause in self._event_log.pauses(who) if length(pause) > self._guarantees.margin]

    def _able_spans(self, who: str) -> list[Span]:
        """Return when this worker is alive, is not paused, and can reach a working database."""
        spans = self._event_log.spans
        alive = intersection(spans("up", "leaving", who), spans("up", "gone", who))
        return difference(alive, [*self._pauses[who], *spans("cut", "healed", who), *spans("down", "back")])

    # --- I1

    def overlaps(self) -> Iterator[str]:
        for first, second in self._concurrent_runs():
            both = intersection([first.span], [second.span]) if first.who != second.who else []
            for span in difference(both, [*self._excused_spans(first.who), *self._excused_spans(second.who)]):
                if length(span) > CLOCK_TOLERANCE:
                    yield (
                        f"I1: {_describe_run(first)}"
                        f" and {_describe_run(second)} overlap for {length(span):.3f} s at {span[0]:.3f}"
                    )

    def _concurrent_runs(self) -> Iterator[tuple[JobRun, JobRun]]:
        """Yield pairs of runs of which the second began before the first had ended."""
        for number, first in enumerate(self._runs):
            later = itertools.islice(self._runs, number + 1, None)
            for second in later:
                if second.started_at >= first.ended_at:
                    break
                yield first, second

    def _excused_spans(self, who: str) -> list[Span]:
        """Return the long pauses of a worker, each with the time that it then has to stop."""
        reaction = self._guarantees.stop_timeout + self._guarantees.tolerance
        return [(begin, end + reaction) for begin, end in self._pauses[who]]

    # --- I2

    def terms(self) -> Iterator[str]:
        for term, times in Counter(run.term for run in self._runs).items():
            if times > 1:
                yield f"I2: term {term} was issued {times} times"
        for first, second in itertools.pairwise(self._runs):
            if first.term > second.term and not self._was_paused(second):
                yield f"I2: {_describe_run(second)} began after {_describe_run(first)}, whose number is larger"

    def _was_paused(self, run: JobRun) -> bool:
        """Return whether its ``start`` may have been delayed long after the claim."""
        before = [(run.started_at - self._guarantees.lease, run.started_at + CLOCK_TOLERANCE)]
        return bool(intersection(self._pauses[run.who], before))

    def stale_effects(self) -> Iterator[str]:
        known = {run.term for run in self._runs}
        for effect in self._event_log.effects:
            if effect.term not in known:
                yield f"I2: effect {effect.id} is of term {effect.term}, which no run had"
        yield from _find_decreasing_terms("id", sorted(self._event_log.effects, key=lambda effect: effect.id))
        yield from _find_decreasing_terms(
            "commit", sorted(self._event_log.effects, key=lambda each: (each.committed, each.id))
        )

    # --- I3

    def gaps(self) -> Iterator[str]:
        served = union(span for run in self._runs for span in difference([run.span], self._pauses[run.who]))
        enabled = difference([(0.0, self._event_log.end)], self._event_log.spans("disabling", "enabled"))
        without_master = difference(enabled, served)
        for who in self._event_log.workers():
            for span in intersection(self._able_spans(who), without_master):
                if length(span) > self._guarantees.max_gap:
                    yield f"I3: nothing ran for {length(span):.3f} s at {span[0]:.3f}, though {who} could have"

    # --- I4

    def ignored_disables(self) -> Iterator[str]:
        max_stop_time = self._guarantees.max_stop_time
        for run in self._runs:
            for disabled_span in self._event_log.spans("disabled", "enabling"):
                obeyable_spans = intersection(self._able_spans(run.who), [disabled_span])
                if any(length(span) > max_stop_time for span in intersection(obeyable_spans, [run.span])):
                    yield (
                        f"I4: {_describe_run(run)} continued"
                        f" for more than {max_stop_time:.1f} s after the disable at {disabled_span[0]:.3f}"
                    )
                if any(begin + max_stop_time < run.started_at < end for begin, end in obeyable_spans):
                    yield (
                        f"I4: {_describe_run(run)}"
                        f" began at {run.started_at:.3f}, after the disable at {disabled_span[0]:.3f}"
                    )


def _find_decreasing_terms(order: str, effects: Sequence[Effect]) -> Iterator[str]:
    for before, after in itertools.pairwise(effects):
        if after.term < before.term:
            yield f"I2: by {order}, effect {after.id} of term {after.term} comes after one of term {before.term}"


def _describe_run(run: JobRun) -> str:
    return f"the run of {run.who} in term {run.term}"
