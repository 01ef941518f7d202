"""A lock and its history as people see them: why nothing runs, if nothing runs.

The store reads these values; terminals, the control API (`status_json`) and the status of MasterJobs show them.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from shlex import quote
from typing import Literal

from masterjob.concurrency.clock import format_age
from masterjob.job_status import ONCE_SOURCE, JobStatus, RunPhase

OVERDUE_SHARE = 0.5
"""The share of its lease after which a heartbeat is overdue: every timing has two intervals within its lease."""

LockState = Literal["Running", "Starting", "Completed", "StartFailed", "Stopping", "Disabled", "Vacant", "Unknown"]

UNCLAIMED_AFTER = timedelta(minutes=1)
"""An instance that takes part in a free lock claims it sooner, unless it pauses after a failure."""

_STATE_OF_PHASE: dict[RunPhase, LockState] = {
    RunPhase.STARTING: "Starting",
    RunPhase.RUNNING: "Running",
    RunPhase.COMPLETED: "Completed",
    RunPhase.FAILED: "StartFailed",
    RunPhase.STOPPING: "Stopping",
}


@dataclass(frozen=True, slots=True)
class DisabledStatus:
    """A disable of a lock: who, why, since when and until when. Of several, the newest.

    ``source`` is the switch: ``api``, a file, or the uid of a MasterJob, whose ``NAMESPACE/NAME`` is ``resource``.
    """

    reason: str
    actor: str
    source: str
    since: datetime
    until: datetime | None
    resource: str = ""

    @property
    def by(self) -> str:
        """The actor, with the source if the actor does not name it."""
        return describe_actor(self.actor, self.source, self.resource)


@dataclass(frozen=True, slots=True)
class MasterStatus:
    """The master of a lock. ``heartbeat_age`` is in seconds; ``alive`` is False once the lease has expired."""

    instance: str
    address: str
    pod: str
    node: str
    since: datetime
    heartbeat_age: float
    alive: bool
    lease: float = float("inf")
    """Seconds."""
    last_heartbeat: datetime | None = None
    """By the database's clock."""

    @property
    def is_overdue(self) -> bool:
        """Whether a heartbeat is missing."""
        return not self.alive or self.heartbeat_age > self.lease * OVERDUE_SHARE


@dataclass(frozen=True, slots=True)
class LockStatus:
    """The status of a lock. ``term`` is the number of its last term, 0 if it had none.

    ``job`` is the last run of its job in any term, if one was recorded; ``live_instances`` counts the instances of
    all locks: in which locks an instance takes part is not stored.
    """

    lock_name: str
    enabled: bool
    disabled: DisabledStatus | None
    master: MasterStatus | None
    term: int
    job: JobStatus | None = None
    live_instances: int = 0
    free_since: datetime | None = None
    """For an enabled lock without a master: the last entry of its history; None if it has none."""
    newest_session_at: datetime | None = field(default=None, compare=False)
    """When the newest session of a live instance was opened."""
    read_at: datetime | None = field(default=None, compare=False)
    """When this was read, by the database's clock."""
    quarantine: str = ""
    """Why no lock is claimed since the database was promoted; empty if locks may be claimed."""

    @property
    def since(self) -> datetime | None:
        """When this state began, as far as it is known. For a silent master, its last heartbeat."""
        if self.disabled is not None:
            return self.job.since if self.is_completed_for_good and self.job is not None else self.disabled.since
        if self.master is None:
            return self.current_job.since if self.current_job and self._has_failed else self.free_since
        if self.master.is_overdue:
            age = timedelta(seconds=self.master.heartbeat_age)
            return None if self.read_at is None else self.read_at - age
        return self.master.since if self.current_job is None else self.current_job.since

    @property
    def current_job(self) -> JobStatus | None:
        """The job in the last term; None if nothing of that term was recorded, or if the job was stopped."""
        job = self.job
        return job if job is not None and job.term == self.term and job.phase is not None else None

    @property
    def is_completed_for_good(self) -> bool:
        """Whether the job has completed and does not run again until the lock is enabled (``once: true``)."""
        return not self.enabled and self.disabled is not None and self.disabled.source == ONCE_SOURCE

    @property
    def state(self) -> LockState:
        """The state in one word."""
        if not self.enabled:
            if self.is_completed_for_good:
                return "Completed"
            return "Stopping" if self.master is not None else "Disabled"
        if self.master is None or not self.master.alive:
            return "StartFailed" if self.master is None and self._has_failed else "Vacant"
        if self.master.is_overdue:
            return "Unknown"
        job = self.current_job
        return "Starting" if job is None or job.phase is None else _STATE_OF_PHASE[job.phase]

    @property
    def why(self) -> str:
        """One sentence on why the job does not run, or may not; empty if it runs."""
        if self.is_completed_for_good:
            return "the job has completed; it runs again only after the lock is enabled"
        if not self.enabled:
            return self.why_disabled
        if self.master is None:
            return self._why_without_master()
        if self.master.is_overdue:
            return _why_overdue(self.master, self.quarantine)
        return self._why_with_master()

    @property
    def _has_failed(self) -> bool:
        return self.current_job is not None and self.current_job.phase is RunPhase.FAILED

    @property
    def why_disabled(self) -> str:
        """Who disabled the lock, why, and until when."""
        if self.disabled is None:  # the switch is being changed
            return "disabled"
        until = "" if self.disabled.until is None else f" (until {format_timestamp(self.disabled.until)})"
        return f"disabled by {self.disabled.by}: {self.disabled.reason}{until}"

    def _why_without_master(self) -> str:
        failure = describe_failure(self.current_job) if self.current_job and self._has_failed else ""
        if self.live_instances and self.quarantine:
            return self.quarantine
        if self.live_instances == 0:
            return f"no instance is alive; the job {failure}" if failure else "no instance is alive"
        free = failure or "the lock is free: no instance that knows its job has claimed it yet"
        if self.read_at is None or self.free_since is None:
            return free
        # Only what every live instance has let pass is evidence: the newest may be about to claim the lock.
        unclaimed_since = max(self.free_since, self.newest_session_at or self.free_since)
        if self.read_at - unclaimed_since < UNCLAIMED_AFTER:
            return free
        age = format_age((self.read_at - self.free_since).total_seconds())
        if failure:
            return f"{failure}; the lock has been free for {age}"
        return f"the lock has been free for {age}: {_describe_absence(self.live_instances)}"

    def _why_with_master(self) -> str:
        job = self.current_job
        if self.job is not None and self.job.consecutive_failures and self.state in ("Starting", "StartFailed"):
            return describe_failure(self.job)
        match None if job is None else job.phase:
            case RunPhase.RUNNING:
                return ""
            case RunPhase.COMPLETED:
                return "the job has completed; it runs again only in another term"
            case RunPhase.STOPPING:
                return "the job is being stopped"
        return "the job is being started"


def describe_failure(job: JobStatus) -> str:
    """Return what went wrong with a job, where, and how often in a row."""
    error = job.last_error or "its job failed"
    times = f" ({job.consecutive_failures} failures in a row)" if job.consecutive_failures > 1 else ""
    return f"failed on {job.instance}: {error}{times}"


def _describe_absence(live_instances: int) -> str:
    if live_instances == 1:
        return "the only live instance does not take part in it, or does not know its job"
    return f"none of the {live_instances} live instances takes part in it, or none knows its job"


def _why_overdue(master: MasterStatus, quarantine: str) -> str:
    silence = f"{master.instance} has been silent for {master.heartbeat_age:.0f} s"
    if quarantine:
        return f"{silence}; {quarantine}"
    if not master.alive:
        return f"{silence}; its lease is over, and an instance that knows the job takes over"
    return f"{silence}; if it is dead, its lease ends in {master.lease - master.heartbeat_age:.0f} s"


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """An event in the history of a lock."""

    at: datetime
    lock_name: str
    term: int | None
    kind: str
    instance: str | None
    actor: str | None
    reason: str
    vacant_for: timedelta | None = None
    """If it ended a time in which the lock was enabled and its job did not run: how long that was."""
    vacancy_cause: str = ""
    """Why the job did not run, as in the reports of `masterjob.availability`."""


def format_timestamp(time: datetime, precision: str = "seconds") -> str:
    """Return a time in RFC 3339, in UTC; ``precision`` is ``seconds``, ``milliseconds`` or ``microseconds``."""
    return time.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def describe_actor(actor: str, source: str, resource: str | None) -> str:
    """Return the actor of a switch, with the source if the actor does not name it."""
    return actor if resource or actor == source else f"{actor} ({source})"


def explain_how_to_enable(lock: LockStatus) -> str:
    """Return what ends the newest disable: a command, or an edit."""
    command = f"masterjob enable {quote(lock.lock_name)}"  # people paste it into a shell
    if lock.disabled is None or lock.disabled.source in ("api", ONCE_SOURCE):
        return command
    remove_source = f"or, if that is gone for good: {command} --source {quote(lock.disabled.source)}"
    if not lock.disabled.resource:
        return f"set enabled: true where {lock.disabled.source} was read from, {remove_source}"
    namespace, _, name = lock.disabled.resource.partition("/")
    patch = '\'{"spec":{"enabled":true}}\''
    return f"kubectl patch masterjob {name} -n {namespace} --type merge -p {patch}, {remove_source}"
