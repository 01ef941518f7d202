"""Gaps are counted once, from the history, some time after the job runs again."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from masterjob.election.core.actions import RecordTransition
from masterjob.election.core.events import Tick
from masterjob.election.observers import Step
from masterjob.election.values import HistoryEntry, TransitionKind
from masterjob.errors import StoreUnavailable
from masterjob.lock_status import HistoryEvent
from masterjob.runtime.gap_meter import SETTLE_SECONDS, GapMeter

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NEVER = float("inf")


class Harness:
    """A meter without a thread, and the history that it reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("threading.Thread.start", lambda _: None)
        self.history: list[HistoryEvent] = []
        self.is_available = True
        self.gaps: list[tuple[str, str, float]] = []
        self.meter = GapMeter(self._read_history, lambda *gap: self.gaps.append(gap))

    def _read_history(self, lock_name: str, limit: int) -> Sequence[HistoryEvent]:
        if not self.is_available:
            raise StoreUnavailable("gone")
        return [event for event in reversed(self.history) if event.lock_name == lock_name][:limit]

    def run_job(self, at: float, gap: float | None, instance: str = "me", observer: str = "me") -> None:
        """Let the job run again at this time, after a gap of so many seconds."""
        entry = HistoryEntry("JOB", 1, TransitionKind.RUNNING, "text", instance)
        length, cause = (None, "") if gap is None else (timedelta(seconds=gap), "crash")
        time = NOON + timedelta(seconds=at)
        self.history.append(HistoryEvent(time, "JOB", 1, "running", instance, None, "text", length, cause))
        if instance == observer:
            self.meter.on_step(Step(observer, at, Tick(), (RecordTransition(entry),)))


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Harness:
    return Harness(monkeypatch)


def test_a_gap_is_counted_when_the_history_has_settled(harness: Harness) -> None:
    harness.run_job(at=100.0, gap=20.0)
    assert harness.meter.count_due(100.0) == 100.0 + SETTLE_SECONDS
    assert harness.gaps == []
    assert harness.meter.count_due(100.0 + SETTLE_SECONDS) == NEVER
    assert harness.gaps == [("JOB", "crash", 20.0)]


def test_each_gap_is_counted_once(harness: Harness) -> None:
    harness.run_job(at=100.0, gap=20.0)
    harness.meter.count_due(200.0)
    harness.run_job(at=300.0, gap=5.0)
    harness.meter.count_due(400.0)
    assert [seconds for _, _, seconds in harness.gaps] == [20.0, 5.0]


def test_gaps_that_other_instances_ended_are_theirs(harness: Harness) -> None:
    harness.run_job(at=90.0, gap=7.0, instance="other")
    harness.run_job(at=100.0, gap=20.0)
    harness.meter.count_due(200.0)
    assert [seconds for _, _, seconds in harness.gaps] == [20.0]


def test_a_first_start_ends_no_gap(harness: Harness) -> None:
    harness.run_job(at=100.0, gap=None)
    harness.meter.count_due(200.0)
    assert harness.gaps == []


def test_a_history_that_cannot_be_read_is_read_again(harness: Harness) -> None:
    harness.run_job(at=100.0, gap=20.0)
    harness.is_available = False
    assert harness.meter.count_due(200.0) == 200.0 + SETTLE_SECONDS
    harness.is_available = True
    assert harness.meter.count_due(200.0 + SETTLE_SECONDS) == NEVER
    assert len(harness.gaps) == 1
