"""The gauges of a job's life on this instance, set by the transitions that it records."""

from masterjob.election.values import HistoryEntry, TransitionKind
from masterjob.web.metrics.series import BoundedLabels, LockGauge, MetricSeries

_FAILURES = (TransitionKind.FAILED, TransitionKind.START_FAILED)
_ENDS = (*_FAILURES, TransitionKind.RESTARTING, TransitionKind.COMPLETED, TransitionKind.STOPPED)


class JobGauges:
    """Whether the job of each lock runs here or has completed here, and how often in a row it has failed here."""

    def __init__(self, series: MetricSeries, labels: BoundedLabels) -> None:
        self._running = LockGauge(series.running, labels)
        self._completed = LockGauge(series.completed, labels)
        self._failures = LockGauge(series.failures, labels)

    def declare(self, lock_name: str) -> None:
        """Show the lock from the beginning on."""
        for gauge in (self._running, self._completed, self._failures):
            gauge.set(lock_name, gauge.get(lock_name))

    def on_transition(self, entry: HistoryEntry) -> None:
        """Follow a transition that this instance records."""
        if entry.kind is TransitionKind.RUNNING:
            self._running.set(entry.lock_name, 1)
            self._completed.set(entry.lock_name, 0)
            self._failures.set(entry.lock_name, 0)
        elif entry.kind in _ENDS:
            self._running.set(entry.lock_name, 0)
            self._completed.set(entry.lock_name, entry.kind is TransitionKind.COMPLETED)
        if entry.kind in _FAILURES:
            self._failures.set(entry.lock_name, self._failures.get(entry.lock_name) + 1)
        if entry.kind is TransitionKind.COMPLETED:
            self._failures.set(entry.lock_name, 0)
