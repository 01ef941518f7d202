"""``masterjob run``: follow the MasterJobs of manifests until a signal arrives."""

import logging
import threading

from masterjob.cli.api_options import ApiOptions
from masterjob.cli.bootstrap import Bootstrap, wait_for_end
from masterjob.cli.log import LogOptions
from masterjob.cli.options import DatabaseOptions, PathsArgument, config_file_to_exclude
from masterjob.cli.signals import ShutdownSignals
from masterjob.controller.controller import Controller
from masterjob.resource.files import ManifestWatcher
from masterjob.runtime.runtime import current_runtime
from masterjob.runtime.shutdown import SOURCE_STOP_TIMEOUT

logger = logging.getLogger("masterjob")

RUN_HELP = """Follow MasterJob manifests in files; run their jobs.

The process competes for the lock of each manifest, and runs its job while it is the master.

\b
  masterjob run manifests/ --database sqlite:///jobs.sqlite3 \\
    --config config.yaml

\b
A manifest:
  apiVersion: masterjob.io/v1alpha1
  kind: MasterJob
  metadata: {name: report}
  spec: {lockName: REPORT, job: report}

\b
The config file, which defines the jobs:
  jobs:
    report: {exec: {command: [sh, -c, "make report"]}}

Manifests can be edited while this runs. "enabled: false" stops the job on every instance (disabledReason says
why). New intervals apply without a new election. Removing a manifest releases its lock. An error is logged with
its file, line and field, and the previous version stays in effect. SIGTERM, SIGHUP or Ctrl-C stops the jobs,
releases the locks and exits with code 0.

A database that is down is waited for. If it refuses this process at the start, such as for a wrong password, the
exit code is 1.

The control API listens on http://127.0.0.1:3000, for this machine only. It serves /explorer, /metrics, /healthz
and /readyz. To open it to other machines, require tokens:

\b
  masterjob run manifests/ --host 0.0.0.0 --auth token --tokens tokens.yaml

The options of the control API can also be set in the environment (MASTERJOB_LISTEN_HOST and so on) and in the
config file (controlApi: {host: ...}).
"""


def run(paths: PathsArgument, database: DatabaseOptions, log: LogOptions, api: ApiOptions) -> None:
    """Run until a signal arrives."""
    bootstrap = Bootstrap(database, log, api)
    runtime = current_runtime()
    controller = Controller(runtime, bootstrap.settings_for, bootstrap.jobs)
    signals = ShutdownSignals()
    bootstrap.end_if_refused(signals)
    bootstrap.log_startup("masterjob", ", ".join(map(str, paths)))
    for path in paths:
        if not path.exists():
            logger.warning("%s: no such file or directory; it is read as soon as it exists", path)
    watcher = ManifestWatcher(paths, controller, exclude=config_file_to_exclude(database.config))
    listed, stop = threading.Event(), threading.Event()

    def watch() -> None:
        watcher.scan()
        listed.set()
        if not stop.is_set():
            controller.start()  # now, so that an outage of the database can name the locks
        watcher.watch(stop)

    watch_thread = threading.Thread(target=watch, name="masterjob-watch", daemon=True)

    def stop_following() -> None:
        stop.set()
        watch_thread.join(SOURCE_STOP_TIMEOUT)
        controller.close()

    bootstrap.start_control_api(
        [
            lambda: None if listed.is_set() else "the manifests were not read yet",
            controller.check_database_reached,
        ]
    )
    watch_thread.start()
    runtime.add_shutdown_hook(before=stop_following)
    wait_for_end(signals)
