"""The metrics of this process, and the observer that counts the steps of its elections.

The election publishes its steps on a thread of its own, and a scrape reads the counts: nothing here calls a
database or blocks the election. Only trust and lateness are read from the runners at each scrape, as attributes.
"""

import time

from prometheus_client import CollectorRegistry, ProcessCollector

from masterjob.concurrency.clock import clock
from masterjob.election.core.actions import Abandon, Action, RecordTransition, StartJob, StopJob
from masterjob.election.core.commands import (
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
    JobRunChanged,
    JobStarted,
    JobStartFailed,
    JobStopped,
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
from masterjob.web.metrics.jobs import JobMetrics
from masterjob.web.metrics.series import BoundedLabels, LockGauge, MetricSeries, Renderer, RunnerCollector


class Metrics:
    """Everything that this process counts. `on_step` is the observer; ``count_…`` is for other callers.

    ``runners`` returns the election runners whose trust and lateness are shown.
    """

    def __init__(self, runners: ListRunners = tuple) -> None:
        self.registry = CollectorRegistry()
        self._labels = BoundedLabels()
        self._declared_locks: set[str] = set()
        self._unanswered: set[str] = set()
        self._abandoned_commands: set[StoreCommand[object]] = set()
        self._series = MetricSeries(self.registry)
        self._is_master = LockGauge(self._series.is_master, self._labels)
        self._vacant = LockGauge(self._series.vacant, self._labels)
        self._enabled = LockGauge(self._series.enabled, self._labels)
        self._job_metrics = JobMetrics(self._series, self._labels)
        self._renderer = Renderer(self.registry)
        self.registry.register(RunnerCollector(runners, self._unanswered))
        ProcessCollector(registry=self.registry)

    def count_status_write(self, result: str) -> None:
        """Count a write of a resource's status; ``result`` is one of a closed list, such as written or refused."""
        self._series.status_writes.labels(result).inc()

    def count_gap(self, lock_name: str, cause: str, seconds: float) -> None:
        """Count a time in which the job of an enabled lock did not run, and which this instance ended."""
        self._series.gap_duration.observe(seconds)
        self._series.unavailable.labels(self._labels.label_for(lock_name), cause).inc(seconds)

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
        self._note_answer(step)
        self._count_event(step)
        self._count_job_event(step.event)
        for action in step.actions:
            self._count_action(step, action)

    def _note_answer(self, step: Step) -> None:
        match step.event:
            case Reply():
                self._unanswered.discard(step.instance)
            case Failure():
                self._unanswered.add(step.instance)
        if any(isinstance(action, Abandon) for action in step.actions):
            self._unanswered.add(step.instance)

    def _count_event(self, step: Step) -> None:
        match step.event:
            case Declare(lock_name):
                self._add_declared_lock(lock_name)
                self._count_wakeup("resource")
            case Withdraw(lock_name):
                self._declared_locks.discard(lock_name)
                self._vacant.set(lock_name, 0)
                self._enabled.set(lock_name, 0)  # it is none of this instance's business any more
                self._count_wakeup("resource")
            case LocksChanged(lock_names):
                self._count_wakeup("poll" if lock_names is None else "notification")
            case Reply(command, answer):
                self._count_reply(step, command, answer)
            case Failure(command):
                self._count_failure(command, "error")

    def _count_job_event(self, event: CoreEvent) -> None:
        match event:
            case JobStarted(term):
                self._series.starts_completed.labels(self._labels.label_for(term.lock_name)).inc()
            case JobStartFailed(term):
                self._series.start_failures.labels(self._labels.label_for(term.lock_name)).inc()
            case JobRunChanged(term, run):
                self._job_metrics.on_run(term, run)
            case JobStopped(term):
                self._job_metrics.on_stopped(term)

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
        for kind in (TransitionKind.ELECTED, TransitionKind.RESTARTING):
            self._series.transitions.labels(label, kind.value)
        self._job_metrics.declare(lock_name)

    def _count_reply(self, step: Step, command: StoreCommand[object], result: object) -> None:
        self._abandoned_commands.discard(command)
        match command, result:
            case ((OpenSession() | Renew()), _):
                self._series.heartbeat_duration.observe(max(0.0, step.time - command.sent))
            case ListSessions(), SessionList(clock_ms):
                age = clock() - (command.sent + step.time) / 2
                self._series.clock_offset.set(clock_ms / 1000 - (time.time() - age))
            case ListVacancies(), Vacancies() as vacancies:
                free_names = set(vacancies.lock_names)
                for name in self._declared_locks:
                    self._vacant.set(name, name in free_names)
                    self._enabled.set(name, name not in vacancies.disabled_names)

    def _count_failure(self, command: StoreCommand[object], reason: str) -> None:
        if isinstance(command, OpenSession | Renew) and command not in self._abandoned_commands:
            self._series.heartbeat_failures.labels(reason).inc()
        self._abandoned_commands.discard(command)

    def _count_action(self, step: Step, action: Action) -> None:
        match action:
            case StartJob(term):
                label = self._labels.label_for(term.lock_name)
                self._series.starts.labels(label).inc()
                self._is_master.set(term.lock_name, 1)
                self._vacant.set(term.lock_name, 0)
                self._enabled.set(term.lock_name, 1)
            case StopJob(term):
                label, reason = self._labels.label_for(term.lock_name), stop_reason(step.event)
                self._series.stops.labels(label, reason).inc()
                self._is_master.set(term.lock_name, 0)
                if reason == "disabled":
                    self._enabled.set(term.lock_name, 0)
            case RecordTransition(entry):
                self._count_transition(entry.lock_name, entry.kind)
                self._job_metrics.on_transition(entry)
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
