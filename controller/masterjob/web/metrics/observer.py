"""The metrics of this process, and the observer that counts the steps of its elections.

The election publishes its steps on a thread of its own, and a scrape reads the counts: nothing here calls a
database or blocks the election. Only trust and lateness are read from the runners at each scrape, as attributes.
"""

import time
from collections import defaultdict

from prometheus_client import CollectorRegistry, ProcessCollector

from masterjob.concurrency.clock import clock
from masterjob.election.core.actions import Abandon, Action, RecordTransition, StartJob, StopJob
from masterjob.election.core.commands import (
    Evict,
    ListSessions,
    ListVacancies,
    OpenSession,
    ReadHeldTerms,
    Renew,
    StoreCommand,
)
from masterjob.election.core.events import (
    CoreEvent,
    Declare,
    Failure,
    JobStarted,
    JobStartFailed,
    LocksChanged,
    Reply,
    Shutdown,
    StepDown,
    Tick,
    Withdraw,
)
from masterjob.election.observers import Step
from masterjob.election.values import Inventory, SessionList, TransitionKind, Vacancies
from masterjob.web.interfaces import ListRunners
from masterjob.web.metrics.series import BoundedLabels, MetricSeries, Renderer, RunnerCollector


class Metrics:
    """Everything that this process counts. `on_step` is the observer; ``count_…`` is for other callers.

    ``runners`` returns the election runners whose trust and lateness are shown.
    """

    def __init__(self, runners: ListRunners = tuple) -> None:
        self.registry = CollectorRegistry()
        self._labels = BoundedLabels()
        self._declared_locks: set[str] = set()
        self._serving_by_label: defaultdict[str, set[str]] = defaultdict(set)
        self._vacant_since: dict[str, float] = {}
        self._silence_before_eviction: dict[str, float] = {}
        self._abandoned_commands: set[StoreCommand[object]] = set()
        self._series = MetricSeries(self.registry)
        self._renderer = Renderer(self.registry)
        self.registry.register(RunnerCollector(runners))
        ProcessCollector(registry=self.registry)

    def count_status_write(self, result: str) -> None:
        """Count a write of a resource's status; ``result`` is one of a closed list, such as written or refused."""
        self._series.status_writes.labels(result).inc()

    def count_request(self, method: str, route: str, code: int, duration: float) -> None:
        """Count a request; ``route`` is the path of its route, never the requested path."""
        self._series.requests.labels(method, route, str(code)).inc()
        self._series.request_duration.labels(route).observe(duration)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics in the accepted format, and its content type."""
        return self._renderer.render(accept)

    # --- the observer

    def on_step(self, step: Step) -> None:
        """Count one step of an instance."""
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
            family.labels(label)  # so that it is shown as zero before the first one

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
        """Set the gauge to the number of served locks that share the label."""
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


def stop_reason(event: CoreEvent) -> str:
    """Return why a term ended, by the event that stopped it.

    One of disabled, asked, evicted, trust_ended, start_failed, not_held, closed and other.
    """
    match event:
        case Reply(Renew(), None):
            reason = "evicted"
        case Reply(_, Inventory(stop_requests=requests)) if requests:
            reason = "asked" if all(each.is_step_down for each in requests) else "disabled"
        case Reply(ReadHeldTerms()):
            reason = "not_held"
        case JobStartFailed():
            reason = "start_failed"
        case StepDown():
            reason = "asked"
        case Withdraw() | Shutdown():
            reason = "closed"
        case Tick() | Failure():
            reason = "trust_ended"
        case _:
            reason = "other"
    return reason
