"""The numbers by name, unit and label: what ``/metrics`` shows. observer.py counts them.

Names end in their unit, as Prometheus has it; counters get ``_total`` by themselves.
"""

from functools import partial
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""For what is asked and answered: heartbeats and requests."""

VACANCY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

_BUILD_INFO = "masterjob_build_info", "The version, as a label."
_IS_MASTER = "masterjob_is_master", "Whether this instance serves the lock (1 or 0)."
_VACANT = "masterjob_lock_vacant", "Whether the lock was enabled and free at this instance's last look (1 or 0)."
_VACANCY_DURATION = (
    "masterjob_vacancy_seconds",
    "Time that a lock was without a master before this instance became it, as far as it saw.",
)
_TRANSITIONS = "masterjob_transitions", "Transitions told by this instance."
_STOPS = "masterjob_job_stops", "Terms ended here, by why."
_STARTS = "masterjob_job_starts", "Jobs told to start."
_STARTS_COMPLETED = "masterjob_job_started", "Starts that returned."
_START_FAILURES = "masterjob_job_start_failures", "Starts that failed."
_HEARTBEAT_DURATION = "masterjob_heartbeat_duration_seconds", "From the decision to beat to the database's answer."
_HEARTBEAT_FAILURES = "masterjob_heartbeat_failures", "Heartbeats without success."
_WAKEUPS = "masterjob_wakeups", "What made this instance look for something to do."
_CLOCK_OFFSET = (
    "masterjob_database_clock_offset_seconds",
    "The database's clock less this machine's, at the last look at the sessions.",
)
_STATUS_WRITES = "masterjob_status_writes", "Writes of a resource's status."
_REQUESTS = "masterjob_api_requests", "Requests answered."
_REQUEST_DURATION = "masterjob_api_request_duration_seconds", "Time until a request was answered."


class MetricSeries:
    """All of them, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry)
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        gauge(*_BUILD_INFO, ["version"]).labels(version("masterjob")).set(1)
        self.is_master = gauge(*_IS_MASTER, ["lock"])
        self.vacant = gauge(*_VACANT, ["lock"])
        self.vacancy_duration = histogram(*_VACANCY_DURATION, buckets=VACANCY_BUCKETS)
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
