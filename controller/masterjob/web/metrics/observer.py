"""What is counted for Prometheus: an observer of the election that turns its steps into numbers.

Nothing here asks anybody anything: the election shows its steps, on a thread of its own, and a scrape reads what
was counted. Only trust and lateness are asked of the instances at each scrape; they are plain attributes.

Labels are bounded: kinds, reasons and routes are closed lists, and of lock names the first thousand count.
"""

import time
from collections import defaultdict
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from masterjob.concurrency.clock import clock
from masterjob.election.core.actions import Abandon, Action, RecordTransition, StartJob, StopJob
from masterjob.election.core.commands import Evict, ListSessions, ListVacancies, OpenSession, Renew, StoreCommand
from masterjob.election.core.events import (
    Declare,
    Failure,
    JobStarted,
    JobStartFailed,
    LocksChanged,
    Reply,
    Tick,
    Withdraw,
)
from masterjob.election.observers import Step
from masterjob.election.values import SessionList, TransitionKind, Vacancies
from masterjob.web.interfaces import ListInstances
from masterjob.web.metrics.labels import BoundedLabels
from masterjob.web.metrics.reasons import stop_reason
from masterjob.web.metrics.series import MetricSeries

_RENDER_TTL = 0.5  # seconds for which a rendering is good: many scrapes at once cost no more than one

_OPENMETRICS_TYPE = "application/openmetrics-text"
_TEXT_FORMAT = choose_encoder("")
_OPENMETRICS_FORMAT = choose_encoder(f"{_OPENMETRICS_TYPE}; version=1.0.0")
"""One version of each, whichever is asked for: whoever asks can think of any number, and each would be kept."""


class Metrics:
    """Everything that this process counts. `on_step` is the observer; the other methods are for whoever does
    things.

    ``instances`` gives the instances whose trust and lateness are shown.
    """

    def __init__(self, instances: ListInstances = tuple) -> None:
        self.registry = CollectorRegistry()
        self._labels = BoundedLabels()
        self._declared_locks: set[str] = set()
        self._serving_by_label: defaultdict[str, set[str]] = defaultdict(set)
        self._vacant_since: dict[str, float] = {}
        self._silence_before_eviction: dict[str, float] = {}
        self._abandoned_commands: set[StoreCommand[object]] = set()
        self._render_cache: dict[str, tuple[float, bytes]] = {}
        self._series = MetricSeries(self.registry)
        self.registry.register(_InstanceCollector(instances))
        ProcessCollector(registry=self.registry)

    # --- for whoever does things

    def count_status_write(self, result: str) -> None:
        """Count a write of a resource's status; ``result`` is one of a few words, such as written or refused."""
        self._series.status_writes.labels(result).inc()

    def count_request(self, method: str, route: str, code: int, duration: float) -> None:
        """Count a request; ``route`` is its pattern, never what was asked."""
        self._series.requests.labels(method, route, str(code)).inc()
        self._series.request_duration.labels(route).observe(duration)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return all numbers in the format that is asked for, and its content type."""
        encode, content_type = _OPENMETRICS_FORMAT if _OPENMETRICS_TYPE in accept else _TEXT_FORMAT
        rendered_at, text = self._render_cache.get(content_type, (float("-inf"), b""))
        if clock() - rendered_at > _RENDER_TTL:
            text = encode(_RegistryWithoutCreated(self.registry))
            self._render_cache[content_type] = clock(), text
        return text, content_type

    # --- the observer

    def on_step(self, step: Step) -> None:
        """Take in one step of an instance."""
        self._count_event(step)
        for action in step.actions:
            self._count_action(step, action)

    def _count_event(self, step: Step) -> None:
        match step.event:
            case Declare(lock_name):
                self._add_declared_lock(lock_name)
                self._count_wakeup("resource")
            case Withdraw(lock_name):
                self._declared_locks.discard(lock_name)
                self._set_vacant(lock_name, since=None)
                self._count_wakeup("resource")
            case JobStarted(term):
                self._series.starts_completed.labels(self._labels.label_for(term.lock_name)).inc()
            case JobStartFailed(term):
                self._series.start_failures.labels(self._labels.label_for(term.lock_name)).inc()
            case LocksChanged(lock_names):
                self._count_wakeup("poll" if lock_names is None else "notification")
            case Reply(command, answer):
                self._count_reply(step, command, answer)
            case Failure(command):
                self._count_failure(command, "error")

    def _count_wakeup(self, source: str) -> None:
        self._series.wakeups.labels(source).inc()

    def _add_declared_lock(self, lock_name: str) -> None:
        self._declared_locks.add(lock_name)
        label = self._labels.label_for(lock_name)
        for family in (
            self._series.is_master,
            self._series.vacant,
            self._series.starts,
            self._series.start_failures,
        ):
            family.labels(label)  # so that a zero can be seen before the first one

    def _count_reply(self, step: Step, command: StoreCommand[object], result: object) -> None:
        self._abandoned_commands.discard(command)
        match command, result:
            case ((OpenSession() | Renew()), _):
                self._series.heartbeat_duration.observe(max(0.0, step.time - command.sent))
            case ListSessions(), SessionList(clock_ms):
                age = clock() - (command.sent + step.time) / 2
                self._series.clock_offset.set(clock_ms / 1000 - (time.time() - age))
            case ListVacancies(), Vacancies(names):
                vacant_names = set(names)
                for name in self._declared_locks:
                    since = self._vacant_since.get(name, step.time - self._silence_before_eviction.pop(name, 0.0))
                    self._set_vacant(name, since=since if name in vacant_names else None)
            case Evict() as evict, tuple() as terms:
                silence = evict.watched.silent_for(step.time)
                self._silence_before_eviction |= {
                    term.lock_name: silence for term in terms if term.lock_name in self._declared_locks
                }

    def _count_failure(self, command: StoreCommand[object], reason: str) -> None:
        if isinstance(command, OpenSession | Renew) and command not in self._abandoned_commands:
            self._series.heartbeat_failures.labels(reason).inc()
        self._abandoned_commands.discard(command)

    def _count_action(self, step: Step, action: Action) -> None:
        match action:
            case StartJob(term):
                label = self._labels.label_for(term.lock_name)
                self._series.starts.labels(label).inc()
                self._set_serving(term.lock_name, label, serving=True)
                self._end_vacancy(term.lock_name, step.time)
            case StopJob(term):
                label = self._labels.label_for(term.lock_name)
                self._series.stops.labels(label, stop_reason(step.event)).inc()
                self._set_serving(term.lock_name, label, serving=False)
            case RecordTransition(entry):
                self._count_transition(entry.lock_name, entry.kind)
            case Abandon(command):
                self._count_failure(command, "no answer")
                if len(self._abandoned_commands) < 1000:
                    self._abandoned_commands.add(command)
            case ListVacancies() if isinstance(step.event, Tick):
                self._count_wakeup("timer")

    def _count_transition(self, lock_name: str, kind: TransitionKind) -> None:
        self._series.transitions.labels(
            self._labels.label_for(lock_name), kind.value.replace(" ", "_").replace("-", "_")
        ).inc()

    def _set_serving(self, lock_name: str, label: str, *, serving: bool) -> None:
        """Under the label of many locks it is their number that is shown."""
        (self._serving_by_label[label].add if serving else self._serving_by_label[label].discard)(lock_name)
        self._series.is_master.labels(label).set(len(self._serving_by_label[label]))

    def _end_vacancy(self, lock_name: str, now: float) -> None:
        since = self._vacant_since.get(lock_name)
        if since is not None:
            self._series.vacancy_duration.observe(max(0.0, now - since))
        self._set_vacant(lock_name, since=None)

    def _set_vacant(self, lock_name: str, *, since: float | None) -> None:
        if since is None:
            if self._vacant_since.pop(lock_name, None) is None:
                return
        else:
            self._vacant_since[lock_name] = since
        self._series.vacant.labels(self._labels.label_for(lock_name)).set(0 if since is None else 1)


class _RegistryWithoutCreated:
    """A registry without the times at which its series began: nobody asks for them, and they are half of all."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Return what is shown."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class _InstanceCollector:
    """What is asked of the instances at each scrape."""

    def __init__(self, instances: ListInstances) -> None:
        self._instances = instances

    def collect(self) -> list[GaugeMetricFamily]:
        """Return the least trust and the greatest lateness; no trust where no term stands on any."""
        instances = list(self._instances())
        trust_gauge = GaugeMetricFamily(
            "masterjob_trust_left_seconds",
            "Time until the first trust ends that a term stands on, if not renewed.",
        )
        lag_gauge = GaugeMetricFamily(
            "masterjob_elector_late_seconds", "For how long the election's thread should have turned and has not."
        )
        trusts_left = [
            trust_left for trust_left in (instance.trust_left for instance in instances) if trust_left is not None
        ]
        if trusts_left:
            trust_gauge.add_metric([], min(trusts_left))
        lag_gauge.add_metric([], max((member.lag for member in instances), default=0.0))
        return [trust_gauge, lag_gauge]
