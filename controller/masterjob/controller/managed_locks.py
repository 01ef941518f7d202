"""The locks that this process competes for on behalf of resources: opened, updated, withdrawn."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from masterjob.config.settings import Setting, Settings
from masterjob.election.core.events import StepDown
from masterjob.election.ports import Job, Report
from masterjob.election.term import LiveTerm
from masterjob.errors import SettingError
from masterjob.jobs.registry import JobSpec
from masterjob.resource.masterjob import OPTION_FIELDS, Resource
from masterjob.runtime.instance import Instance
from masterjob.runtime.runtime import Runtime

SettingsResolver = Callable[[Mapping[str, object]], Settings]
"""Returns the settings in effect for the options of a resource, by argument name."""

_FIELD_BY_ARGUMENT = {argument: key for key, argument in OPTION_FIELDS.items()}


class UnknownJob(SettingError):
    """The job that a resource names does not exist in this process. Another process may have it."""


class SwappableJob:
    """The job of a lock, replaceable while it runs: `start` takes the newest, `stop` ends the one that runs."""

    def __init__(self) -> None:
        self._next: Job | None = None
        self._running: Job | None = None

    def set_next(self, job: Job) -> None:
        """Run this job from the next term on."""
        self._next = job

    def start(self, term: LiveTerm, report: Report) -> None:
        """Start the newest job."""
        self._running = self._next
        if self._running is not None:
            self._running.start(term, report)

    def set_stop_timeout(self, stop_timeout: float) -> None:
        """Set the stop timeout, in seconds, of the running job and of the next one."""
        for job in (self._running, self._next):
            if job is not None:
                job.set_stop_timeout(stop_timeout)

    def stop(self) -> None:
        """Stop the job that was started."""
        if self._running is not None:
            self._running.stop()


@dataclass(frozen=True, slots=True)
class _ManagedLock:
    """A lock that this process competes for, with the settings and the job in effect."""

    instance: Instance
    settings: Settings
    job: str

    def matches(self, resource: Resource, settings: Settings) -> bool:
        current = (self.job, self.settings.timing, self.settings.lost_policy)
        return current == (resource.job, settings.timing, settings.lost_policy)


class ManagedLocks:
    """The locks that this process competes for on behalf of resources. Use each lock from one thread at a time."""

    def __init__(self, runtime: Runtime, settings_for: SettingsResolver, jobs: Mapping[str, JobSpec]) -> None:
        self._runtime = runtime
        self._settings_for = settings_for
        self._jobs = jobs
        self._closed = False
        self._lock = threading.Lock()
        self._by_name: dict[str, _ManagedLock] = {}
        self._swappable_jobs: dict[str, SwappableJob] = {}

    def ensure(self, resource: Resource) -> None:
        """Compete for the lock of the resource, with its timing and its job. Calling it again changes nothing.

        Raises:
            SettingError: the timing or the job is not valid. After a bad timing or job entry, everything stays as
                it was; after an unknown job (`UnknownJob`), this process does not compete for the lock.
        """
        settings = self._settings_for(declared_settings(resource))
        spec = self._jobs.get(resource.job)
        if spec is None:
            self.withdraw(resource.lock_name, "its job is not known here")
            raise UnknownJob(resource.unknown_job_message(self._jobs))
        managed = self._by_name.get(resource.lock_name)
        if managed is None:
            self._open_lock(resource, spec, settings)
        elif not managed.matches(resource, settings):
            self._update(managed, resource, spec, settings)

    def close(self) -> None:
        """Open no lock from now on; those that are open stay."""
        with self._lock:
            self._closed = True

    def settings_of(self, lock_name: str) -> Settings | None:
        """Return the settings in effect for a lock, or None if this process does not compete for it."""
        managed = self._by_name.get(lock_name)
        return None if managed is None else managed.settings

    def withdraw(self, lock_name: str, reason: str) -> None:
        """Stop competing for the lock: its job is stopped, then the lock released. Returns at once."""
        managed = self._by_name.pop(lock_name, None)
        if managed is not None:
            managed.instance.withdraw(lock_name, reason)

    def _open_lock(self, resource: Resource, spec: JobSpec, settings: Settings) -> None:
        # The swappable job stays for good: a lock may be opened again while its last term still stops.
        job = self._swappable_jobs.setdefault(resource.lock_name, SwappableJob())
        job.set_next(spec.create_job(self._runtime.thread_pool, settings.timing.stop_timeout))
        with self._lock:
            if not self._closed:
                instance = self._runtime.open_lock(resource.lock_name, job, settings, resource.job)
                self._by_name[resource.lock_name] = _ManagedLock(instance, settings, resource.job)

    def _update(self, managed: _ManagedLock, resource: Resource, spec: JobSpec, settings: Settings) -> None:
        """Apply new settings to the running term; only another job needs another term."""
        lock_name = resource.lock_name
        self._swappable_jobs[lock_name].set_next(
            spec.create_job(self._runtime.thread_pool, settings.timing.stop_timeout)
        )
        managed.instance.update_settings(lock_name, settings)
        if managed.job != resource.job:
            managed.instance.rename_job(lock_name, resource.job)
            managed.instance.runner.submit(StepDown(lock_name, f"its job is {resource.job} now"))
        self._by_name[lock_name] = _ManagedLock(managed.instance, settings, resource.job)


def declared_settings(resource: Resource) -> dict[str, object]:
    """Return the options of a resource as settings, each with the place where it was written."""
    options = resource.options.items()
    return {name: Setting(value, resource.locate(("spec", _FIELD_BY_ARGUMENT[name]))) for name, value in options}
