"""The operator: the controller on the MasterJobs of a Kubernetes cluster, in every pod.

    kopf's watch, our own LIST -> the informer -> the controller -> the switch, then the election
    the election, the database -> the status writer              -> the status and Events

The packages kube, jobs and store meet only here.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from masterjob.config.settings import Settings, load_config_document, resolve_settings
from masterjob.controller.controller import Controller
from masterjob.controller.managed_locks import SettingsResolver
from masterjob.election.timing import format_duration
from masterjob.errors import StoreUnavailable
from masterjob.jobs.python.job import CallableSpec, MasterJob
from masterjob.jobs.registry import JobSpec, known_jobs
from masterjob.kube.api.errors import ApiRefused, ApiUnavailable, CrdNotInstalled
from masterjob.kube.cluster import Cluster, resolve_cluster
from masterjob.kube.informer.informer import Informer
from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.kube.informer.reflector import Reflector
from masterjob.kube.status.reconciler import ControllerState
from masterjob.kube.status.writer import StatusWriter
from masterjob.resource.masterjob import Resource
from masterjob.resource.problems import ProblemReason, ResourceProblem
from masterjob.runtime.host_process import require_real_threads
from masterjob.runtime.instance import running_loop
from masterjob.runtime.runtime import Runtime, current_runtime
from masterjob.runtime.shutdown import SOURCE_STOP_TIMEOUT, STATUS_FLUSH_TIMEOUT
from masterjob.store.database import Database

logger = logging.getLogger("masterjob")


class Operator:
    """The operator in this process. `start_operator` returns it running.

    ``settings_for`` returns the settings in effect for the options of a resource; ``jobs`` are those that
    resources may name.

    Raises:
        SettingError: no database is configured, or it is not supported.
    """

    def __init__(
        self, runtime: Runtime, settings_for: SettingsResolver, jobs: Mapping[str, JobSpec], cluster: Cluster
    ) -> None:
        self._runtime = runtime
        self._cluster = cluster
        self._controller = Controller(runtime, settings_for, jobs, self._on_reconciled)
        self._informer = Informer(cluster.name, self, self._on_object_changed, cluster.api.get)
        self._database = settings_for({}).database
        self._loop = running_loop()
        database = Database(self._database, runtime.outage_log(self._database))
        admin = database.lock_admin(keep_open=10.0)  # one connection for a burst of statuses
        instance_name = os.environ.get("POD_NAME") or socket.gethostname()
        self._status_writer = StatusWriter(
            cluster.api,
            self._informer,
            admin.status_of,
            self,
            instance_name,
            on_outcome=runtime.publish_status_write,
        )
        self._reflector = Reflector(cluster.api, cluster.scope, self._informer)

    def start(self) -> None:
        """Start to follow the cluster, and to compete for its locks. Call it once."""
        self._runtime.add_observer(self._status_writer.on_step, self._database)
        self._controller.start()
        self._status_writer.start()
        self._reflector.start()
        self._runtime.add_shutdown_hook(self._stop_following, self._write_last_statuses)

    def resources_of(self, lock_name: str) -> list[ObservedResource]:
        """Return the MasterJobs that name a lock, its owner first."""
        return self._informer.by_lock(lock_name)

    def check_resources_listed(self) -> str | None:
        """Return why the resources are not known yet, or None once they were listed."""
        if self._reflector.has_synced:
            return None
        return self._reflector.list_error or "the resources were not listed yet"

    def check_database_reached(self) -> str | None:
        """Return a sentence until the database was reached, then None."""
        return self._controller.check_database_reached()

    def close(self, why: str = "closed") -> bool:
        """Stop following the cluster, stop every job of this process, release its locks, write the last statuses.

        Returns:
            Whether everything has stopped.

        Raises:
            RuntimeError: called on the event loop that the jobs' coroutines run on; use `aclose` there.
        """
        if self._loop is not None and running_loop() is self._loop:
            raise RuntimeError("close() would block the event loop that the jobs need to stop: await aclose()")
        return self._runtime.shutdown(why)

    async def aclose(self, why: str = "closed") -> bool:
        """Do what `close` does, from a coroutine."""
        return await asyncio.to_thread(self._runtime.shutdown, why)

    def _stop_following(self) -> None:
        self._reflector.stop(SOURCE_STOP_TIMEOUT)
        self._controller.close()

    def _write_last_statuses(self) -> None:
        self._status_writer.close(STATUS_FLUSH_TIMEOUT)
        self._cluster.api.close()

    # --- called by the informer

    def apply(self, source: str, resource: Resource) -> None:
        """Add or update a resource."""
        self._controller.apply(source, resource)

    def remove(self, source: str) -> None:
        """Remove a resource that was deleted."""
        self._controller.remove(source)

    def resync(self) -> None:
        """Reconcile everything after a full list, and remove switches whose resource was deleted unseen."""
        self._controller.resync()
        try:
            self._retract_orphaned_switches()
        except (StoreUnavailable, ApiUnavailable, ApiRefused, CrdNotInstalled) as error:
            logger.debug("the switches of deleted resources are removed later: %s", error)

    def _retract_orphaned_switches(self) -> None:
        for (lock_name, source), stored in self._controller.stored_switches().items():
            if stored.cluster != self._cluster.name or not stored.namespace or not stored.name:
                continue
            if not self._cluster.is_in_scope(stored.namespace) or self._informer.get(source) is not None:
                continue
            body = self._cluster.api.get(stored.namespace, stored.name)
            if body is None or body["metadata"]["uid"] != source:
                self._controller.retract_switch(lock_name, source)

    # --- called by the controller and the status writer

    def _on_object_changed(self, observed: ObservedResource) -> None:
        if observed.error is not None and observed.lock_name:
            self._status_writer.enqueue(observed.lock_name)

    def _on_reconciled(self, lock_name: str) -> None:
        self._status_writer.enqueue(lock_name)

    def state_of(self, observed: ObservedResource) -> ControllerState:
        """Return what the controller knows of a resource, for its status."""
        settings = self._controller.settings_of(observed.lock_name or "")
        written_generation = self._controller.written_generation(observed.uid)
        return ControllerState(
            self._problem_of(observed), None if settings is None else _timing_fields(settings), written_generation
        )

    def requeue(self, observed: ObservedResource) -> None:
        """Write the switch of a resource again, which the database has lost."""
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
    database_file: str | Path | None = None,
    config: str | Path | None = None,
    namespaces: Sequence[str] = (),
    all_namespaces: bool = False,
    kubeconfig: str | None = None,
    context: str | None = None,
    cluster: str | None = None,
    handle_signals: bool = True,
) -> Operator:
    """Run the Kubernetes operator in this process, beside the application's own code. Returns at once.

    Like the command ``masterjob operator``, it follows the MasterJobs of a cluster, competes for their locks, runs
    their jobs and writes their status. Call it in every pod.

    Args:
        jobs: jobs of the application, by the names that MasterJobs give, beside those of the config file and of
            installed packages. Coroutine functions run on the event loop that this is called in.
        database: the URL of the database; required, here, in the environment or in the config file.
        database_file: the file that holds the URL instead, read again for each new connection.
        config: the path of the config file; default: ``MASTERJOB_CONFIG`` of the environment, or none.
        namespaces: the namespaces to follow; default: the pod's own.
        all_namespaces: follow all namespaces.
        kubeconfig: the path of a kubeconfig; default: the pod's service account, else ``KUBECONFIG`` or
            ``~/.kube/config``.
        context: the context of the kubeconfig; default: its current one.
        cluster: the name of the cluster in the database; default: a fingerprint of its certificate authority.
        handle_signals: on SIGTERM, stop the jobs and release the locks, then end the process as before.

    Returns:
        The running operator; end it with ``close()``, or ``await aclose()``.

    Raises:
        SettingError: a setting is missing or not valid, or no cluster was found.
    """
    require_real_threads()
    document = load_config_document(os.environ, config)
    runtime, loop = current_runtime(), running_loop()

    def settings_for(options: Mapping[str, object]) -> Settings:
        return resolve_settings(
            {"database": database, "database_file": database_file, **options}, os.environ, document
        )

    registered_jobs = {name: CallableSpec(job, loop) for name, job in (jobs or {}).items()}
    target_cluster = resolve_cluster(
        kubeconfig, context, namespaces, all_namespaces=all_namespaces, cluster_name=cluster
    )
    operator = Operator(runtime, settings_for, known_jobs(document) | registered_jobs, target_cluster)
    operator.start()
    if handle_signals:
        runtime.install_sigterm_handler()
    return operator


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
