"""The metrics by name, unit and label, and their rendering for ``/metrics``. observer.py counts them.

Names end in their unit, by Prometheus' convention; the client library appends ``_total`` to counters. Labels are
bounded: kinds, reasons and routes are closed lists, and only the first thousand lock names have their own label.
"""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterator
from functools import partial
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from masterjob.concurrency.clock import clock
from masterjob.election.runner import ElectionRunner
from masterjob.web.interfaces import ListRunners

MAX_LABELS = 1_000
OTHER_LABEL = "other"

_RENDER_TTL = 0.5  # seconds for which a rendering is reused: concurrent scrapes cost no more than one

_OPENMETRICS_TYPE = "application/openmetrics-text"
_TEXT_FORMAT = choose_encoder("")
_OPENMETRICS_FORMAT = choose_encoder(f"{_OPENMETRICS_TYPE}; version=1.0.0")
"""One version of each format, whichever is requested: a client may send any number, and each would be cached."""

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""In seconds, for heartbeats and requests."""

VACANCY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

_BUILD_INFO = "masterjob_build_info", "The version, as a label."
_IS_MASTER = "masterjob_is_master", "Whether this instance serves the lock (1 or 0)."
_VACANT = (
    "masterjob_lock_vacant",
    "Whether the lock was enabled and vacant when this instance last checked (1 or 0).",
)
_ENABLED = "masterjob_lock_enabled", "Whether the lock was enabled when this instance last checked (1 or 0)."
_PHASE = "masterjob_job_phase", "Whether the lock's run on this instance is in this phase (1 or 0)."
_FAILURES = "masterjob_job_consecutive_failures", "Failures of the job on this instance since it last ran here."
_GAP_DURATION = (
    "masterjob_vacancy_seconds",
    "Time that an enabled lock's job did not run before this instance ran it, by the history.",
)
_UNAVAILABLE = (
    "masterjob_job_unavailable_seconds",
    "The same time in all, by reason; each gap is counted once, by the instance that ended it.",
)
_RESTARTS = "masterjob_job_restarts", "Starts of a job in place, after the first one of a term."
_START_DURATION = (
    "masterjob_job_start_duration_seconds",
    "Time from the start of a job until it was running.",
)
_TRANSITIONS = "masterjob_transitions", "Transitions recorded by this instance."
_STOPS = "masterjob_job_stops", "Terms that ended here, by reason."
_STARTS = "masterjob_job_starts", "Jobs that were started."
_STARTS_COMPLETED = "masterjob_job_started", "Starts that completed."
_START_FAILURES = "masterjob_job_start_failures", "Starts that failed."
_HEARTBEAT_DURATION = (
    "masterjob_heartbeat_duration_seconds",
    "Time from the decision to send a heartbeat to the database's answer.",
)
_HEARTBEAT_FAILURES = "masterjob_heartbeat_failures", "Heartbeats without success."
_WAKEUPS = "masterjob_wakeups", "What made this instance check for work."
_CLOCK_OFFSET = (
    "masterjob_database_clock_offset_seconds",
    "The database's clock minus this machine's, when the sessions were last read.",
)
_STATUS_WRITES = "masterjob_status_writes", "Writes of a resource's status."
_REQUESTS = "masterjob_api_requests", "Answered requests."
_REQUEST_DURATION = "masterjob_api_request_duration_seconds", "Time until a request was answered."


class MetricSeries:
    """All metrics that are counted, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry)
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        gauge(*_BUILD_INFO, ["version"]).labels(version("masterjob")).set(1)
        self.is_master = gauge(*_IS_MASTER, ["lock"])
        self.vacant = gauge(*_VACANT, ["lock"])
        self.enabled = gauge(*_ENABLED, ["lock"])
        self.phase = gauge(*_PHASE, ["lock", "phase"])
        self.failures = gauge(*_FAILURES, ["lock"])
        self.restarts = counter(*_RESTARTS, ["lock"])
        self.start_duration = histogram(*_START_DURATION, buckets=VACANCY_BUCKETS)
        self.gap_duration = histogram(*_GAP_DURATION, buckets=VACANCY_BUCKETS)
        self.unavailable = counter(*_UNAVAILABLE, ["lock", "reason"])
        self.transitions = counter(*_TRANSITIONS, ["lock", "kind"])
        self.stops = counter(*_STOPS, ["lock", "reason"])
        self.starts = counter(*_STARTS, ["lock"])
        self.starts_completed = counter(*_STARTS_COMPLETED, ["lock"])
        self.start_failures = counter(*_START_FAILURES, ["lock"])
        self.heartbeat_duration = histogram(*_HEARTBEAT_DURATION, buckets=LATENCY_BUCKETS)
        self.heartbeat_failures = counter(*_HEARTBEAT_FAILURES, ["reason"])
        self.wakeups = counter(*_WAKEUPS, ["source"])
        self.clock_offset = gauge(*_CLOCK_OFFSET)
        self.status_writes = counter(*_STATUS_WRITES, ["result"])
        self.requests = counter(*_REQUESTS, ["method", "route", "code"])
        self.request_duration = histogram(*_REQUEST_DURATION, ["route"], buckets=LATENCY_BUCKETS)


class BoundedLabels:
    """Labels for lock names: the first ``max_labels`` names have their own, all others share `OTHER_LABEL`."""

    def __init__(self, max_labels: int = MAX_LABELS) -> None:
        self._max_labels = max_labels
        self._known_names: set[str] = set()
        self._lock = threading.Lock()

    def label_for(self, name: str) -> str:
        """Return the label of a name."""
        with self._lock:
            if name not in self._known_names and len(self._known_names) < self._max_labels:
                self._known_names.add(name)
            return name if name in self._known_names else OTHER_LABEL


class LockGauge:
    """A gauge of locks, of which ``more_labels`` follow the lock. A label that locks share has their sum."""

    def __init__(self, gauge: Gauge, labels: BoundedLabels, *more_labels: str) -> None:
        self._gauge, self._labels, self._more_labels = gauge, labels, more_labels
        self._values: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def set(self, lock_name: str, value: float) -> None:
        """Set the value of a lock."""
        label = self._labels.label_for(lock_name)
        values = self._values[label]
        values[lock_name] = value
        child = self._gauge.labels(label, *self._more_labels)
        child.set(sum(values.values()) if label == OTHER_LABEL else value)

    def get(self, lock_name: str) -> float:
        """Return the value of a lock, 0 if it was not set."""
        return self._values[self._labels.label_for(lock_name)].get(lock_name, 0.0)


class RunnerCollector:
    """The gauges that are read from the election runners at each scrape.

    ``unanswered`` has the instances whose last statement failed.
    """

    def __init__(self, runners: ListRunners, unanswered: Collection[str] = ()) -> None:
        self._runners, self._unanswered = runners, unanswered

    def collect(self) -> list[GaugeMetricFamily]:
        """Return the shortest remaining trust, the greatest lateness, and whether each database answers.

        There is no sample of what no runner has.
        """
        runners = list(self._runners())
        reachable_gauge = GaugeMetricFamily(
            "masterjob_database_reachable", "Whether the database answered this instance the last time (1 or 0)."
        )
        if runners:
            reachable_gauge.add_metric([], float(all(self._is_answered(runner) for runner in runners)))
        trust_gauge = GaugeMetricFamily(
            "masterjob_trust_left_seconds",
            "Time until the first trust of a running term ends, if it is not renewed.",
        )
        lag_gauge = GaugeMetricFamily("masterjob_elector_late_seconds", "Lateness of the election's thread.")
        trusts_left = [trust_left for runner in runners if (trust_left := runner.trust_left) is not None]
        if trusts_left:
            trust_gauge.add_metric([], min(trusts_left))
        lag_gauge.add_metric([], max((runner.lag for runner in runners), default=0.0))
        return [trust_gauge, lag_gauge, reachable_gauge]

    def _is_answered(self, runner: ElectionRunner) -> bool:
        return runner.unavailable_reason is None and runner.identity.instance not in self._unanswered


class Renderer:
    """Renders a registry as text or OpenMetrics; a rendering is cached for half a second."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._cache: dict[str, tuple[float, bytes]] = {}

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics in the accepted format, and its content type."""
        encode, content_type = _OPENMETRICS_FORMAT if _OPENMETRICS_TYPE in accept else _TEXT_FORMAT
        rendered_at, text = self._cache.get(content_type, (float("-inf"), b""))
        if clock() - rendered_at > _RENDER_TTL:
            text = encode(self)
            self._cache[content_type] = clock(), text
        return text, content_type

    def collect(self) -> Iterator[Metric]:
        """Return all metrics without the ``_created`` times of their series, which would be half of the output."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
