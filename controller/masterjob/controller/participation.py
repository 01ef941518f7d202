"""What part this process has in the election of each lock that resources name: opened, changed, withdrawn.

Level-based: `take_part` may be told the same thing any number of times.

Source: design sections 3.2 (move) and 5.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from masterjob.election.errors import SettingError
from masterjob.election.machine.events import StepDown
from masterjob.election.ports import Job, Report
from masterjob.election.term import LiveTerm
from masterjob.jobs.named import JobSpec
from masterjob.process.instance import Instance
from masterjob.process.process import Process
from masterjob.resource.resource import OPTIONS, Resource
from masterjob.settings import Setting, Settings

Resolve = Callable[[Mapping[str, object]], Settings]
"""Gives the settings in effect for the options of a resource, by argument name."""

_KEYS = {argument: key for key, argument in OPTIONS.items()}


class UnknownJob(SettingError):
    """The job that a resource names is not one of this process's; another process may have it."""


class NextJob:
    """The job of a lock: at each start the one that was put in last, while the one before is stopped as itself."""

    def __init__(self) -> None:
        self._next: Job | None = None
        self._running: Job | None = None

    def put(self, job: Job) -> None:
        """Have the next term run this one."""
        self._next = job

    def start(self, term: LiveTerm, report: Report) -> None:
        """Start the newest."""
        self._running = self._next
        if self._running is not None:
            self._running.start(term, report)

    def stop_within(self, seconds: float) -> None:
        """Have a stop take so long at most, of the one that runs and of the one that is next."""
        for job in (self._running, self._next):
            if job is not None:
                job.stop_within(seconds)

    def stop(self) -> None:
        """Stop the one that was started."""
        if self._running is not None:
            self._running.stop()


@dataclass(frozen=True, slots=True)
class _Opened:
    """A lock that this process takes part in, and with what."""

    instance: Instance
    settings: Settings
    job: str

    def has(self, resource: Resource, settings: Settings) -> bool:
        """Whether this is what the resource wants."""
        mine = (self.job, self.settings.timing, self.settings.lost_policy)
        return mine == (resource.job, settings.timing, settings.lost_policy)


class Participation:
    """The locks that this process takes part in for a controller. Each lock is used by one thread at a time."""

    def __init__(self, process: Process, resolve: Resolve, jobs: Mapping[str, JobSpec]) -> None:
        self._process = process
        self._resolve = resolve
        self._jobs = jobs
        self._closed = False
        self._lock = threading.Lock()
        self._opened: dict[str, _Opened] = {}
        self._runners: dict[str, NextJob] = {}

    def take_part(self, resource: Resource) -> None:
        """Compete for the resource's lock with its timing and its job.

        Raises:
            SettingError: its timing or job cannot be had. With a bad timing or job entry all stays as it was;
                with a job that is not known (`UnknownJob`) this process does not compete for the lock.
        """
        settings = self._resolve(given_settings(resource))
        spec = self._jobs.get(resource.job)
        if spec is None:
            self.withdraw(resource.lock_name, "its job is not known here")
            raise UnknownJob(resource.unknown_job(self._jobs))
        opened = self._opened.get(resource.lock_name)
        if opened is None:
            self._open(resource, spec, settings)
        elif not opened.has(resource, settings):
            self._change(opened, resource, spec, settings)

    def close(self) -> None:
        """Take part in nothing more from now on, whoever still asks for it; what is open stays."""
        with self._lock:
            self._closed = True

    def settings_of(self, lock_name: str) -> Settings | None:
        """Return what is in effect for a lock, if this process takes part in it."""
        opened = self._opened.get(lock_name)
        return None if opened is None else opened.settings

    def withdraw(self, lock_name: str, why: str) -> None:
        """Take no part in the lock any more: its job is stopped, then the lock released; nobody waits for it."""
        opened = self._opened.pop(lock_name, None)
        if opened is not None:
            opened.instance.withdraw(lock_name, why)

    def _open(self, resource: Resource, spec: JobSpec, settings: Settings) -> None:
        # The runner stays for good: a lock may be opened again while its last term is still being stopped.
        runner = self._runners.setdefault(resource.lock_name, NextJob())
        runner.put(spec.make(self._process.crew, settings.timing.stop_timeout))
        with self._lock:
            if not self._closed:
                instance = self._process.open_lock(resource.lock_name, runner, settings)
                self._opened[resource.lock_name] = _Opened(instance, settings, resource.job)

    def _change(self, opened: _Opened, resource: Resource, spec: JobSpec, settings: Settings) -> None:
        """Have the new settings in effect, without losing the mastership; only another job needs another term."""
        name = resource.lock_name
        self._runners[name].put(spec.make(self._process.crew, settings.timing.stop_timeout))
        opened.instance.retime(name, settings)
        if opened.job != resource.job:
            opened.instance.driver.tell(StepDown(name, f"its job is {resource.job} now"))
        self._opened[name] = _Opened(opened.instance, settings, resource.job)


def given_settings(resource: Resource) -> dict[str, object]:
    """Return the options of a resource as settings, each with the place where it was written."""
    given = resource.options.items()
    return {name: Setting(value, resource.where(("spec", _KEYS[name]))) for name, value in given}
