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

from masterjob.election.clock import clock
from masterjob.election.machine.actions import Abandon, Action, Say, StartJob, StopJob
from masterjob.election.machine.commands import Command, Evict, LookAtSessions, LookForFree, Open, Renew
from masterjob.election.machine.events import Declare, Failure, Reply, Started, StartFailed, Tick, Withdraw, Woken
from masterjob.election.observing import Seen
from masterjob.election.values import Census, Kind, Vacancies
from masterjob.web.metrics.labels import Labels
from masterjob.web.metrics.reasons import reason_of
from masterjob.web.metrics.series import Series
from masterjob.web.ports import Members

_FRESH = 0.5  # seconds for which a rendering is good: many scrapes at once cost no more than one

_OPENMETRICS = "application/openmetrics-text"
_PLAIN_FORMAT = choose_encoder("")
_OPEN_FORMAT = choose_encoder(f"{_OPENMETRICS}; version=1.0.0")
"""One version of each, whichever is asked for: whoever asks can think of any number, and each would be kept."""


class Metrics:
    """Everything that this process counts. `see` is the observer; the other methods are for whoever does things.

    ``members`` gives the instances whose trust and lateness are shown.
    """

    def __init__(self, members: Members = tuple) -> None:
        self.registry = CollectorRegistry()
        self._labels = Labels()
        self._declared: set[str] = set()
        self._serving: defaultdict[str, set[str]] = defaultdict(set)
        self._vacant_since: dict[str, float] = {}
        self._silent_for: dict[str, float] = {}
        self._abandoned: set[Command] = set()
        self._rendered: dict[str, tuple[float, bytes]] = {}
        self._series = Series(self.registry)
        self.registry.register(_Trust(members))
        ProcessCollector(registry=self.registry)

    # --- for whoever does things

    def status_written(self, result: str) -> None:
        """Count a write of a resource's status; ``result`` is one of a few words, such as written or refused."""
        self._series.status_writes.labels(result).inc()

    def answered(self, method: str, route: str, code: int, seconds: float) -> None:
        """Count a request; ``route`` is its pattern, never what was asked."""
        self._series.requests.labels(method, route, str(code)).inc()
        self._series.request_time.labels(route).observe(seconds)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return all numbers in the format that is asked for, and its content type."""
        encode, content_type = _OPEN_FORMAT if _OPENMETRICS in accept else _PLAIN_FORMAT
        at, text = self._rendered.get(content_type, (float("-inf"), b""))
        if clock() - at > _FRESH:
            text = encode(_Shown(self.registry))
            self._rendered[content_type] = clock(), text
        return text, content_type

    # --- the observer

    def see(self, seen: Seen) -> None:
        """Take in one step of an instance."""
        self._told(seen)
        for action in seen.actions:
            self._ordered(seen, action)

    def _told(self, seen: Seen) -> None:
        match seen.event:
            case Declare(lock_name):
                self._declare(lock_name)
                self._woken("resource")
            case Withdraw(lock_name):
                self._declared.discard(lock_name)
                self._set_vacant(lock_name, since=None)
                self._woken("resource")
            case Started(term):
                self._series.started.labels(self._labels.of(term.lock_name)).inc()
            case StartFailed(term):
                self._series.start_failures.labels(self._labels.of(term.lock_name)).inc()
            case Woken(lock_names):
                self._woken("poll" if lock_names is None else "notification")
            case Reply(command, answer):
                self._answered(seen, command, answer)
            case Failure(command):
                self._failed(command, "error")

    def _woken(self, source: str) -> None:
        self._series.wakeups.labels(source).inc()

    def _declare(self, lock_name: str) -> None:
        self._declared.add(lock_name)
        label = self._labels.of(lock_name)
        for each in (
            self._series.is_master,
            self._series.vacant,
            self._series.starts,
            self._series.start_failures,
        ):
            each.labels(label)  # so that a zero can be seen before the first one

    def _answered(self, seen: Seen, command: Command, answer: object) -> None:
        self._abandoned.discard(command)
        match command, answer:
            case ((Open() | Renew()), _):
                self._series.heartbeat.observe(max(0.0, seen.at - command.sent))
            case LookAtSessions(), Census(clock_ms):
                ago = clock() - (command.sent + seen.at) / 2
                self._series.offset.set(clock_ms / 1000 - (time.time() - ago))
            case LookForFree(), Vacancies(names):
                free = set(names)
                for name in self._declared:
                    since = self._vacant_since.get(name, seen.at - self._silent_for.pop(name, 0.0))
                    self._set_vacant(name, since=since if name in free else None)
            case Evict() as evict, tuple() as terms:
                silent = evict.watched.silent_for(seen.at)
                self._silent_for |= {term.lock_name: silent for term in terms if term.lock_name in self._declared}

    def _failed(self, command: Command, reason: str) -> None:
        if isinstance(command, Open | Renew) and command not in self._abandoned:
            self._series.heartbeat_failures.labels(reason).inc()
        self._abandoned.discard(command)

    def _ordered(self, seen: Seen, action: Action) -> None:
        match action:
            case StartJob(term):
                label = self._labels.of(term.lock_name)
                self._series.starts.labels(label).inc()
                self._serve(term.lock_name, label, serving=True)
                self._end_vacancy(term.lock_name, seen.at)
            case StopJob(term):
                label = self._labels.of(term.lock_name)
                self._series.stops.labels(label, reason_of(seen.event)).inc()
                self._serve(term.lock_name, label, serving=False)
            case Say(entry):
                self._transition(entry.lock_name, entry.kind)
            case Abandon(command):
                self._failed(command, "no answer")
                if len(self._abandoned) < 1000:
                    self._abandoned.add(command)
            case LookForFree() if isinstance(seen.event, Tick):
                self._woken("timer")

    def _transition(self, lock_name: str, kind: Kind) -> None:
        self._series.transitions.labels(
            self._labels.of(lock_name), kind.value.replace(" ", "_").replace("-", "_")
        ).inc()

    def _serve(self, lock_name: str, label: str, *, serving: bool) -> None:
        """Under the label of many locks it is their number that is shown."""
        (self._serving[label].add if serving else self._serving[label].discard)(lock_name)
        self._series.is_master.labels(label).set(len(self._serving[label]))

    def _end_vacancy(self, lock_name: str, at: float) -> None:
        since = self._vacant_since.get(lock_name)
        if since is not None:
            self._series.vacancy.observe(max(0.0, at - since))
        self._set_vacant(lock_name, since=None)

    def _set_vacant(self, lock_name: str, *, since: float | None) -> None:
        if since is None:
            if self._vacant_since.pop(lock_name, None) is None:
                return
        else:
            self._vacant_since[lock_name] = since
        self._series.vacant.labels(self._labels.of(lock_name)).set(0 if since is None else 1)


class _Shown:
    """A registry without the times at which its series began: nobody asks for them, and they are half of all."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Return what is shown."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class _Trust:
    """What is asked of the instances at each scrape."""

    def __init__(self, members: Members) -> None:
        self._members = members

    def collect(self) -> list[GaugeMetricFamily]:
        """Return the least trust and the greatest lateness; no trust where no term stands on any."""
        members = list(self._members())
        trust = GaugeMetricFamily(
            "masterjob_trust_left_seconds",
            "Time until the first trust ends that a term stands on, if not renewed.",
        )
        late = GaugeMetricFamily(
            "masterjob_elector_late_seconds", "For how long the election's thread should have turned and has not."
        )
        left = [each for each in (member.trust_left for member in members) if each is not None]
        if left:
            trust.add_metric([], min(left))
        late.add_metric([], max((member.late for member in members), default=0.0))
        return [trust, late]
