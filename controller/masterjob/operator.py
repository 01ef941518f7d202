"""The operator: what the controller does for files, done for the MasterJobs of a Kubernetes cluster, in every pod.

    kopf's watch, our own LIST -> the mirror -> the controller -> the switch, then the election
    the election, the database -> the status writer           -> the status and Events

A composition: the rooms kube, jobs and store meet here, and only here. Nothing is decided.

The order of the end: nothing is followed or changed any more, jobs are stopped, locks released, and what the
statuses say of that is written. Then the process may end.

Source: design sections 6.2, 6.3.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from masterjob.controller.catalogue import known_jobs
from masterjob.controller.controller import Controller
from masterjob.controller.participation import Resolve
from masterjob.controller.problems import Trouble
from masterjob.election.errors import StoreUnavailable
from masterjob.election.timing import in_words
from masterjob.jobs.crew import Crew
from masterjob.jobs.named import JobSpec
from masterjob.jobs.python.job import MasterJob, PythonJob
from masterjob.kube.api.answers import ApiRefused, ApiUnavailable, DefinitionMissing
from masterjob.kube.cluster import Cluster, cluster_of
from masterjob.kube.follow.mirror import Mirror
from masterjob.kube.follow.observed import Observed
from masterjob.kube.follow.watcher import Watcher
from masterjob.kube.status.conditions import Reason
from masterjob.kube.status.facts import Problem
from masterjob.kube.status.teller import Description
from masterjob.kube.status.writer import StatusWriter
from masterjob.main import this_process
from masterjob.process.instance import running_loop
from masterjob.process.process import Process
from masterjob.resource.resource import Resource
from masterjob.settings import Settings, config_document, resolve
from masterjob.store.database import Database

logger = logging.getLogger("masterjob")

FLUSH = 3.0
"""Seconds that the last statuses may take at the end."""

_REASONS = {
    Trouble.CONFLICT: Reason.CONFLICT,
    Trouble.INVALID: Reason.INVALID,
    Trouble.UNKNOWN_JOB: Reason.UNKNOWN_JOB,
}


class Operator:
    """One pod's part. Start it once; after `close` it is over.

    ``resolve`` gives the settings in effect for the options of a resource; ``jobs`` are those that may be named.

    Raises:
        SettingError: no database is named, or none that can be used.
    """

    def __init__(self, process: Process, resolve: Resolve, jobs: Mapping[str, JobSpec], cluster: Cluster) -> None:
        self._process = process
        self._cluster = cluster
        self._controller = Controller(process, resolve, jobs, self._settled)
        self._mirror = Mirror(cluster.name, self, self._observed, cluster.api.get)
        self._url = resolve({}).database
        self._loop = running_loop()
        board = Database(self._url).switchboard()
        me = os.environ.get("POD_NAME") or socket.gethostname()
        self.status = StatusWriter(cluster.api, self._mirror, board.status_of, self, me)
        self.watcher = Watcher(cluster.api, cluster.scope, self._mirror)

    def start(self) -> None:
        """Begin to follow the cluster, and to take part."""
        self._process.observe(self.status.observe, self._url)
        self._controller.start()
        self.status.start()
        self.watcher.start()
        self._process.attend(self)

    def resources_of(self, lock_name: str) -> list[Observed]:
        """Return the MasterJobs that name a lock, the one that has it first."""
        return self._mirror.by_lock(lock_name)

    def unlisted(self) -> str | None:
        """Say why the resources are not known yet; None once they are."""
        return None if self.watcher.listed else self.watcher.trouble or "the resources were not listed yet"

    def unreached(self) -> str | None:
        """Say that the database was not reached yet; None once it was."""
        return self._controller.unreached()

    def close(self, why: str = "closed") -> bool:
        """Follow nothing any more, stop every job of this process, release its locks, and tell so.

        Returns:
            whether everything has stopped.

        Raises:
            RuntimeError: called on the event loop that coroutine jobs need to stop; use `aclose`.
        """
        if self._loop is not None and running_loop() is self._loop:
            raise RuntimeError("close() would wait for the event loop that it stands on: await aclose()")
        return self._process.close_all(why)

    async def aclose(self, why: str = "closed") -> bool:
        """Do what `close` does, from a coroutine."""
        return await asyncio.to_thread(self._process.close_all, why)

    def before_the_end(self) -> None:
        """Follow nothing any more: what the cluster says from now on is for others."""
        self.watcher.stop(2.0)
        self._controller.close()

    def after_the_end(self) -> None:
        """Write the last statuses."""
        self.status.close(FLUSH)
        self._cluster.api.close()

    # --- what the mirror tells

    def apply(self, source: str, resource: Resource) -> None:
        """Have done what a resource says."""
        self._controller.apply(source, resource)

    def remove(self, source: str) -> None:
        """A resource is gone for good."""
        self._controller.remove(source)

    def repeat(self) -> None:
        """Everything was listed: look at all of it again, and at what was left behind while nobody was there."""
        self._controller.repeat()
        try:
            self._take_back_the_left()
        except (StoreUnavailable, ApiUnavailable, ApiRefused, DefinitionMissing) as error:
            logger.debug("what deleted resources left behind is looked for later: %s", error)

    def _take_back_the_left(self) -> None:
        """Take back the switches of resources that were deleted while no pod was there to see it."""
        for (lock_name, source), left in self._controller.switches().items():
            if left.cluster != self._cluster.name or not left.namespace or not left.name:
                continue
            if not self._cluster.follows(left.namespace) or self._mirror.get(source) is not None:
                continue
            body = self._cluster.api.get(left.namespace, left.name)
            if body is None or body["metadata"]["uid"] != source:
                self._controller.take_back(lock_name, source)

    # --- what the status writer is told and asks

    def _observed(self, observed: Observed) -> None:
        if observed.error is not None and observed.lock_name:
            self.status.look(observed.lock_name)

    def _settled(self, lock_name: str) -> None:
        self.status.look(lock_name)

    def describe(self, observed: Observed) -> Description:
        """Return what is known of a resource."""
        settings = self._controller.settings_of(observed.lock_name or "")
        done = self._controller.generation_done(observed.uid)
        return Description(self._problem(observed), None if settings is None else _timing(settings), done)

    def doubt(self, observed: Observed) -> None:
        """Have the switch of a resource written again, which the database does not have."""
        self._controller.doubt(observed.uid)

    def _problem(self, observed: Observed) -> Problem | None:
        if observed.error is not None:
            return Problem(Reason.INVALID, observed.error)
        found = self._controller.problem(observed.uid)
        reason = None if found is None else _REASONS.get(found.trouble)
        return None if found is None or reason is None else Problem(reason, found.words)


def start_operator(  # noqa: PLR0913 - the arguments are the product's surface
    *,
    jobs: Mapping[str, MasterJob] | None = None,
    database: str | None = None,
    config: str | Path | None = None,
    namespaces: Sequence[str] = (),
    all_namespaces: bool = False,
    kubeconfig: str | None = None,
    context: str | None = None,
    cluster: str | None = None,
    handle_signals: bool = True,
) -> Operator:
    """Do in this process what `masterjob operator` does, beside the application's own code; returns at once.

    ``jobs`` are run in this process, under the names that MasterJobs may give; those of the config file and of
    installed packages are there too. The rest is as on the command line. With ``handle_signals`` SIGTERM stops the
    jobs and releases the locks before it ends the process. End it with ``close``.

    Raises:
        SettingError: a setting is missing or wrong, or there is no cluster to be found.

    Source: design section 6.2.
    """
    document = config_document(os.environ, config)
    process, loop = this_process(), running_loop()

    def settings(options: Mapping[str, object]) -> Settings:
        return resolve({"database": database, **options}, os.environ, document)

    named = {name: Registered(job, loop) for name, job in (jobs or {}).items()}
    where = cluster_of(kubeconfig, context, namespaces, everywhere=all_namespaces, name=cluster)
    operator = Operator(process, settings, known_jobs(document) | named, where)
    operator.start()
    if handle_signals:
        process.handle_sigterm()
    return operator


@dataclass(frozen=True, slots=True)
class Registered:
    """A job that the application has handed in."""

    job: MasterJob
    loop: asyncio.AbstractEventLoop | None
    kind: str = "python"

    def check(self) -> None:
        """Nothing to find: it was checked when it was made."""

    def make(self, crew: Crew, stop_timeout: float) -> PythonJob:
        """Return it as the job of one lock."""
        return PythonJob(self.job.start, self.job.stop, crew, self.loop)


def _timing(settings: Settings) -> dict[str, str | int]:
    timing = settings.timing
    return {
        "initDelay": in_words(settings.init_delay),
        "checkMasterInterval": in_words(timing.check_master_interval),
        "heartbeatInterval": in_words(timing.heartbeat_interval),
        "leaseDuration": in_words(timing.lease_duration),
        "stopTimeout": in_words(timing.stop_timeout),
        "maxHeartbeatRetryCount": timing.max_heartbeat_retry_count,
    }
