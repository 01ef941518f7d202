"""The numbers by name, unit and label: what ``/metrics`` shows. observer.py counts them.

Names end in their unit, as Prometheus has it; counters get ``_total`` by themselves.
"""

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

HEARTBEAT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
VACANCY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Series:
    """All of them, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.info = Gauge("masterjob_build_info", "The version, as a label.", ["version"], registry=registry)
        self.info.labels(version("masterjob")).set(1)
        self.is_master = Gauge(
            "masterjob_is_master", "Whether this instance serves the lock (1 or 0).", ["lock"], registry=registry
        )
        self.vacant = Gauge(
            "masterjob_lock_vacant",
            "Whether the lock was enabled and free at this instance's last look (1 or 0).",
            ["lock"],
            registry=registry,
        )
        self.vacancy = Histogram(
            "masterjob_vacancy_seconds",
            "Time that a lock was without a master before this instance became it, as far as it saw.",
            buckets=VACANCY_BUCKETS,
            registry=registry,
        )
        self.transitions = Counter(
            "masterjob_transitions", "Transitions told by this instance.", ["lock", "kind"], registry=registry
        )
        self.stops = Counter(
            "masterjob_job_stops", "Terms ended here, by why.", ["lock", "reason"], registry=registry
        )
        self.starts = Counter("masterjob_job_starts", "Jobs told to start.", ["lock"], registry=registry)
        self.started = Counter("masterjob_job_started", "Starts that returned.", ["lock"], registry=registry)
        self.start_failures = Counter(
            "masterjob_job_start_failures", "Starts that failed.", ["lock"], registry=registry
        )
        self.heartbeat = Histogram(
            "masterjob_heartbeat_duration_seconds",
            "From the decision to beat to the database's answer.",
            buckets=HEARTBEAT_BUCKETS,
            registry=registry,
        )
        self.heartbeat_failures = Counter(
            "masterjob_heartbeat_failures", "Heartbeats without success.", ["reason"], registry=registry
        )
        self.wakeups = Counter(
            "masterjob_wakeups", "What made this instance look for something to do.", ["source"], registry=registry
        )
        self.offset = Gauge(
            "masterjob_database_clock_offset_seconds",
            "The database's clock less this machine's, at the last look at the sessions.",
            registry=registry,
        )
        self.status_writes = Counter(
            "masterjob_status_writes", "Writes of a resource's status.", ["result"], registry=registry
        )
        self.requests = Counter(
            "masterjob_api_requests", "Requests answered.", ["method", "route", "code"], registry=registry
        )
        self.request_time = Histogram(
            "masterjob_api_request_duration_seconds",
            "Time until a request was answered.",
            ["route"],
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
