"""The metrics of a job's life on this instance, by the changes of its runs."""

from prometheus_client import Counter, Histogram

from masterjob.election.values import HistoryEntry, Term, TransitionKind
from masterjob.job_status import RunPhase, RunStatus
from masterjob.web.metrics.series import BoundedLabels, LockGauge, MetricSeries

_FAILURES = (TransitionKind.FAILED, TransitionKind.START_FAILED)
_SUCCESSES = (TransitionKind.RUNNING, TransitionKind.COMPLETED)


class JobMetrics:
    """The phase of each lock's run on this instance, its restarts, and how often in a row it has failed here.

    The phases of a lock are shown from its first run on: each lock runs on one instance, and five series on every
    instance would be many.
    """

    def __init__(self, series: MetricSeries, labels: BoundedLabels) -> None:
        self._labels = labels
        self._phases = {phase: LockGauge(series.phase, labels, phase) for phase in RunPhase}
        self._failures = LockGauge(series.failures, labels)
        self._restarts: Counter = series.restarts
        self._start_duration: Histogram = series.start_duration
        self._runs: dict[Term, RunStatus] = {}
        self._start_times: dict[Term, float] = {}

    def declare(self, lock_name: str) -> None:
        """Show the lock from the beginning on."""
        self._failures.set(lock_name, self._failures.get(lock_name))
        self._restarts.labels(self._labels.label_for(lock_name))

    def on_run(self, term: Term, run: RunStatus) -> None:
        """Follow a change of the run in a term."""
        before = self._runs.get(term)
        self._runs[term] = run
        self._set_phase(term.lock_name, run.phase)
        restarts = run.restarts - (before.restarts if before is not None else 0)
        if restarts > 0:
            self._restarts.labels(self._labels.label_for(term.lock_name)).inc(restarts)
        if run.phase is RunPhase.STARTING:
            self._start_times[term] = run.since
        elif (started_at := self._start_times.pop(term, None)) is not None and run.phase is RunPhase.RUNNING:
            self._start_duration.observe(max(0.0, run.since - started_at))

    def on_stopped(self, term: Term) -> None:
        """Follow the end of a term: there is no run any more."""
        self._start_times.pop(term, None)
        if self._runs.pop(term, None) is not None:
            self._set_phase(term.lock_name, None)

    def on_transition(self, entry: HistoryEntry) -> None:
        """Follow a transition that this instance records."""
        if entry.kind in _SUCCESSES:
            self._failures.set(entry.lock_name, 0)
        elif entry.kind in _FAILURES:
            self._failures.set(entry.lock_name, self._failures.get(entry.lock_name) + 1)

    def _set_phase(self, lock_name: str, current: RunPhase | None) -> None:
        for phase, gauge in self._phases.items():
            gauge.set(lock_name, phase is current)
