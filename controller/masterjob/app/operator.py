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

from masterjob.app.library import current_runtime
from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.config.settings import Settings, load_config_document, resolve_settings
from masterjob.controller.catalogue import known_jobs
from masterjob.controller.controller import Controller
from masterjob.controller.locks import SettingsResolver
from masterjob.election.timing import format_duration
from masterjob.errors import StoreUnavailable
from masterjob.jobs.python.job import MasterJob, PythonJob
from masterjob.jobs.registry import JobSpec
from masterjob.kube.api.errors import ApiRefused, ApiUnavailable, CrdNotInstalled
from masterjob.kube.cluster import Cluster, resolve_cluster
from masterjob.kube.informer.informer import Informer
from masterjob.kube.informer.object import ObservedResource
from masterjob.kube.informer.reflector import Reflector
from masterjob.kube.status.reconciler import ControllerState
from masterjob.kube.status.writer import StatusWriter
from masterjob.resource.masterjob import Resource
from masterjob.resource.problems import ProblemReason, ResourceProblem
from masterjob.runtime.instance import running_loop
from masterjob.runtime.runtime import Runtime
from masterjob.store.database import Database

logger = logging.getLogger("masterjob")

FLUSH_TIMEOUT = 3.0
"""Seconds that the last statuses may take at the end."""


class Operator:
    """One pod's part. Start it once; after `close` it is over.

    ``settings_for`` gives the settings in effect for the options of a resource; ``jobs`` are those that may be
    named.

    Raises:
        SettingError: no database is named, or none that can be used.
    """

    def __init__(
        self, runtime: Runtime, settings_for: SettingsResolver, jobs: Mapping[str, JobSpec], cluster: Cluster
    ) -> None:
        self._runtime = runtime
        self._cluster = cluster
        self._controller = Controller(runtime, settings_for, jobs, self._on_reconciled)
        self._informer = Informer(cluster.name, self, self._on_object_changed, cluster.api.get)
        self._database_url = settings_for({}).database
        self._loop = running_loop()
        admin = Database(self._database_url).lock_admin()
        instance_name = os.environ.get("POD_NAME") or socket.gethostname()
        self.status_writer = StatusWriter(
            cluster.api,
            self._informer,
            admin.status_of,
            self,
            instance_name,
            on_outcome=runtime.publish_status_write,
        )
        self.reflector = Reflector(cluster.api, cluster.scope, self._informer)

    def start(self) -> None:
        """Begin to follow the cluster, and to take part."""
        self._runtime.add_observer(self.status_writer.on_step, self._database_url)
        self._controller.start()
        self.status_writer.start()
        self.reflector.start()
        self._runtime.add_shutdown_hook(self)

    def resources_of(self, lock_name: str) -> list[ObservedResource]:
        """Return the MasterJobs that name a lock, the one that has it first."""
        return self._informer.by_lock(lock_name)

    def check_resources_listed(self) -> str | None:
        """Say why the resources are not known yet; None once they are."""
        return (
            None if self.reflector.has_synced else self.reflector.list_error or "the resources were not listed yet"
        )

    def check_database_reached(self) -> str | None:
        """Say that the database was not reached yet; None once it was."""
        return self._controller.check_database_reached()

    def close(self, why: str = "closed") -> bool:
        """Follow nothing any more, stop every job of this process, release its locks, and tell so.

        Returns:
            whether everything has stopped.

        Raises:
            RuntimeError: called on the event loop that coroutine jobs need to stop; use `aclose`.
        """
        if self._loop is not None and running_loop() is self._loop:
            raise RuntimeError("close() would wait for the event loop that it stands on: await aclose()")
        return self._runtime.shutdown(why)

    async def aclose(self, why: str = "closed") -> bool:
        """Do what `close` does, from a coroutine."""
        return await asyncio.to_thread(self._runtime.shutdown, why)

    def before_shutdown(self) -> None:
        """Follow nothing any more: what the cluster says from now on is for others."""
        self.reflector.stop(2.0)
        self._controller.close()

    def after_shutdown(self) -> None:
        """Write the last statuses."""
        self.status_writer.close(FLUSH_TIMEOUT)
        self._cluster.api.close()

    # --- what the mirror tells

    def apply(self, source: str, resource: Resource) -> None:
        """Have done what a resource says."""
        self._controller.apply(source, resource)

    def remove(self, source: str) -> None:
        """A resource is gone for good."""
        self._controller.remove(source)

    def resync(self) -> None:
        """Everything was listed: look at all of it again, and at what was left behind while nobody was there."""
        self._controller.resync()
        try:
            self._retract_orphaned_switches()
        except (StoreUnavailable, ApiUnavailable, ApiRefused, CrdNotInstalled) as error:
            logger.debug("what deleted resources left behind is looked for later: %s", error)

    def _retract_orphaned_switches(self) -> None:
        """Take back the switches of resources that were deleted while no pod was there to see it."""
        for (lock_name, source), stored in self._controller.stored_switches().items():
            if stored.cluster != self._cluster.name or not stored.namespace or not stored.name:
                continue
            if not self._cluster.is_in_scope(stored.namespace) or self._informer.get(source) is not None:
                continue
            body = self._cluster.api.get(stored.namespace, stored.name)
            if body is None or body["metadata"]["uid"] != source:
                self._controller.retract_switch(lock_name, source)

    # --- what the status writer is told and asks

    def _on_object_changed(self, observed: ObservedResource) -> None:
        if observed.error is not None and observed.lock_name:
            self.status_writer.enqueue(observed.lock_name)

    def _on_reconciled(self, lock_name: str) -> None:
        self.status_writer.enqueue(lock_name)

    def state_of(self, observed: ObservedResource) -> ControllerState:
        """Return what is known of a resource."""
        settings = self._controller.settings_of(observed.lock_name or "")
        written_generation = self._controller.written_generation(observed.uid)
        return ControllerState(
            self._problem_of(observed), None if settings is None else _timing_fields(settings), written_generation
        )

    def requeue(self, observed: ObservedResource) -> None:
        """Have the switch of a resource written again, which the database does not have."""
        self._controller.requeue(observed.uid)

    def _problem_of(self, observed: ObservedResource) -> ResourceProblem | None:
        if observed.error is not None:
            return ResourceProblem(ProblemReason.INVALID, observed.error)
        problem = self._controller.problem_of(observed.uid)
        # whether the database answers is determined when the status is written
        return None if problem is None or problem.reason is ProblemReason.UNAVAILABLE else problem


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
    document = load_config_document(os.environ, config)
    runtime, loop = current_runtime(), running_loop()

    def settings_for(options: Mapping[str, object]) -> Settings:
        return resolve_settings({"database": database, **options}, os.environ, document)

    registered_jobs = {name: RegisteredJobSpec(job, loop) for name, job in (jobs or {}).items()}
    target_cluster = resolve_cluster(
        kubeconfig, context, namespaces, all_namespaces=all_namespaces, cluster_name=cluster
    )
    operator = Operator(runtime, settings_for, known_jobs(document) | registered_jobs, target_cluster)
    operator.start()
    if handle_signals:
        runtime.install_sigterm_handler()
    return operator


@dataclass(frozen=True, slots=True)
class RegisteredJobSpec:
    """A job that the application has handed in."""

    job: MasterJob
    loop: asyncio.AbstractEventLoop | None
    kind: str = "python"

    def check(self) -> None:
        """Nothing to find: it was checked when it was made."""

    def create_job(self, pool: ThreadPool, stop_timeout: float) -> PythonJob:
        """Return it as the job of one lock."""
        return PythonJob(self.job.start, self.job.stop, pool, self.loop)


def _timing_fields(settings: Settings) -> dict[str, str | int]:
    timing = settings.timing
    return {
        "initDelay": format_duration(settings.init_delay),
        "checkMasterInterval": format_duration(timing.check_master_interval),
        "heartbeatInterval": format_duration(timing.heartbeat_interval),
        "leaseDuration": format_duration(timing.lease_duration),
        "stopTimeout": format_duration(timing.stop_timeout),
        "maxHeartbeatRetryCount": timing.max_heartbeat_retry_count,
    }
