"""Judges a story: a pure function of it and of the promises, independent of everything that it judges.

What it accepts as an excuse is written down beside each promise, and nothing else is:

    I1  runs of one lock do not overlap                      but for a worker paused longer than the margin
    I2  guarded effects of two terms do not interleave       no excuse
    I3  an enabled lock has a run within lease + heartbeat   unless no worker could take it all that time
        + a second
    I4  a disabled lock has none after heartbeat + stop      unless the worker could not hear of it
        timeout

The machine itself may pause a worker: that counts as a pause where the worker noticed it. Where the database or
a worker's network is not good, nothing is asked of I3 and I4 until they are, and everything of I1 and I2.

Source: design section 7.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults.story import Effect, Run, Span, Story, common, length, union, without

BLINK = 0.002
"""Seconds that two processes may read a clock apart and still mean the same moment."""

LOOK = 0.2
"""Seconds that a stop may take to be written down, on a machine that is busy."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The timing that all workers have, in seconds, and what follows from it."""

    heartbeat: float
    lease: float
    stop_timeout: float

    @property
    def margin(self) -> float:
        return self.stop_timeout + 0.02 * self.lease

    @property
    def gap(self) -> float:
        return self.lease + self.heartbeat + 1.0

    @property
    def stop_within(self) -> float:
        return self.heartbeat + self.stop_timeout + LOOK


@dataclass(frozen=True, slots=True)
class Failover:
    """A change from one run to the next: how long nothing ran, and what ended the run before."""

    at: float
    seconds: float
    cause: str
    before: str
    after: str


def judge(story: Story, promise: Promise) -> list[str]:
    """Every violation, in words; none is what everybody hopes for."""
    judge_of = _Judge(story, promise)
    parts = (
        judge_of.overlaps(),
        judge_of.terms(),
        judge_of.stale_effects(),
        judge_of.gaps(),
        judge_of.disobedience(),
    )
    return list(itertools.chain(*parts))


def failovers(story: Story) -> list[Failover]:
    """Every change of master, in order."""
    return [_failover(story, before, after) for before, after in itertools.pairwise(story.runs())]


def _failover(story: Story, before: Run, after: Run) -> Failover:
    """Of a master that is frozen and replaced meanwhile, its freezing is the end, not its late stop."""
    ended, cause = before.ended, before.cause
    for begin, end in story.spans("paused", "resumed", before.who):
        if before.began < begin < after.began < end:
            ended, cause = begin, "paused"
    return Failover(after.began, after.began - ended, cause, before.who, after.who)


class _Judge:
    def __init__(self, story: Story, promise: Promise) -> None:
        self._story = story
        self._promise = promise
        self._runs = story.runs()
        self._pauses = {who: self._long_pauses(who) for who in story.workers()}

    def _long_pauses(self, who: str) -> list[Span]:
        return [pause for pause in self._story.pauses(who) if length(pause) > self._promise.margin]

    def _able(self, who: str) -> list[Span]:
        """When this worker lives, is not paused, and can speak to a database that answers."""
        told = self._story.spans
        lives = common(told("up", "leaving", who), told("up", "gone", who))
        return without(lives, [*self._pauses[who], *told("cut", "healed", who), *told("down", "back")])

    # --- I1

    def overlaps(self) -> Iterator[str]:
        for first, second in self._at_once():
            both = common([first.span], [second.span]) if first.who != second.who else []
            for span in without(both, [*self._excuses(first.who), *self._excuses(second.who)]):
                if length(span) > BLINK:
                    yield f"I1: {_run(first)} and {_run(second)} overlap for {length(span):.3f} s at {span[0]:.3f}"

    def _at_once(self) -> Iterator[tuple[Run, Run]]:
        """Pairs of which the second began before the first had ended."""
        for number, first in enumerate(self._runs):
            later = itertools.islice(self._runs, number + 1, None)
            for second in later:
                if second.began >= first.ended:
                    break
                yield first, second

    def _excuses(self, who: str) -> list[Span]:
        """A worker that was paused too long is not to blame until it had the time to stop."""
        reaction = self._promise.stop_timeout + LOOK
        return [(begin, end + reaction) for begin, end in self._pauses[who]]

    # --- I2

    def terms(self) -> Iterator[str]:
        for term, times in Counter(run.term for run in self._runs).items():
            if times > 1:
                yield f"I2: term {term} was issued {times} times"
        for first, second in itertools.pairwise(self._runs):
            if first.term > second.term and not self._was_paused(second):
                yield f"I2: {_run(second)} began after {_run(first)}, whose number is larger"

    def _was_paused(self, run: Run) -> bool:
        """Whether its ``start`` may have been held up long after the claim."""
        before = [(run.began - self._promise.lease, run.began + BLINK)]
        return bool(common(self._pauses[run.who], before))

    def stale_effects(self) -> Iterator[str]:
        known = {run.term for run in self._runs}
        for effect in self._story.effects:
            if effect.term not in known:
                yield f"I2: effect {effect.id} is of term {effect.term}, which nobody was told to serve"
        yield from _decreasing("id", sorted(self._story.effects, key=lambda effect: effect.id))
        yield from _decreasing("commit", sorted(self._story.effects, key=lambda each: (each.committed, each.id)))

    # --- I3

    def gaps(self) -> Iterator[str]:
        served = union(span for run in self._runs for span in without([run.span], self._pauses[run.who]))
        enabled = without([(0.0, self._story.end)], self._story.spans("disabling", "enabled"))
        empty = without(enabled, served)
        for who in self._story.workers():
            for span in common(self._able(who), empty):
                if length(span) > self._promise.gap:
                    yield f"I3: nothing ran for {length(span):.3f} s at {span[0]:.3f}, though {who} could have"

    # --- I4

    def disobedience(self) -> Iterator[str]:
        within = self._promise.stop_within
        for run in self._runs:
            for off in self._story.spans("disabled", "enabling"):
                told = common(self._able(run.who), [off])
                if any(length(span) > within for span in common(told, [run.span])):
                    yield f"I4: {_run(run)} went on for more than {within:.1f} s after the disable at {off[0]:.3f}"
                if any(begin + within < run.began < end for begin, end in told):
                    yield f"I4: {_run(run)} began at {run.began:.3f}, after the disable at {off[0]:.3f}"


def _decreasing(order: str, effects: Sequence[Effect]) -> Iterator[str]:
    for before, after in itertools.pairwise(effects):
        if after.term < before.term:
            yield f"I2: by {order}, effect {after.id} of term {after.term} comes after one of term {before.term}"


def _run(run: Run) -> str:
    return f"the run of {run.who} in term {run.term}"
