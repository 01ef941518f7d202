"""The standalone controller: manifests in files, followed; elections for their locks; until a signal comes.

The order of the end: the files are followed no more, nothing is changed any more, the jobs are stopped, the locks
released, and only then the control API closes: nobody's lock waits for a page. Then the process ends with 0.
"""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from masterjob.app.library import current_runtime
from masterjob.cli.api_options import ApiOptions
from masterjob.cli.bootstrap import Bootstrap
from masterjob.cli.log import LogOptions
from masterjob.cli.options import DatabaseOptions, PathsArgument, config_file_to_exclude
from masterjob.cli.signals import ShutdownSignals
from masterjob.controller.controller import Controller
from masterjob.resource.files import ManifestWatcher

logger = logging.getLogger("masterjob")

RUN_HELP = """Follow MasterJob manifests in files and folders, and take part in the election of their locks.

\b
  masterjob run manifests/ --database sqlite:///jobs.sqlite3 --config config.yaml

\b
A manifest:
  apiVersion: masterjob.io/v1alpha1
  kind: MasterJob
  metadata: {name: report}
  spec: {lockName: REPORT, job: report}

\b
The config file, which says what the jobs are:
  jobs:
    report: {exec: {command: [sh, -c, "make report"]}}

Edit a manifest while it runs: enabled: false stops the job everywhere (disabledReason says why), intervals change
without losing the mastership, a manifest that is removed frees its lock. What is wrong is told with file, line and
field, and stays as it was. SIGTERM or Ctrl-C stops the jobs, releases the locks and ends with 0.

\b
The control API listens on http://127.0.0.1:3000, for this machine alone; its explorer is at /explorer, and
/metrics, /healthz and /readyz are there too. Where others shall reach it, say who may:
  masterjob run manifests/ --host 0.0.0.0 --auth token --tokens tokens.yaml
In the environment these options are MASTERJOB_LISTEN_HOST and so on, in the config file controlApi: {host: …}.
"""


def run(paths: PathsArgument, database: DatabaseOptions, log: LogOptions, api: ApiOptions) -> None:
    """Run until a signal comes."""
    bootstrap = Bootstrap(database, log, api)
    controller = Controller(current_runtime(), bootstrap.settings_for, bootstrap.jobs)
    signals = ShutdownSignals()
    bootstrap.log_startup("masterjob", ", ".join(map(str, paths)))
    _warn_about_missing(paths)
    listed, stop = threading.Event(), threading.Event()
    readiness_checks = [
        lambda: None if listed.is_set() else "the manifests were not read yet",
        controller.check_database_reached,
    ]
    control_api = bootstrap.start_control_api(readiness_checks)
    controller.start()
    watcher = ManifestWatcher(paths, controller, exclude=config_file_to_exclude(database.config))
    watcher_thread = threading.Thread(
        target=_watch_manifests, args=(watcher, listed, stop), name="masterjob files", daemon=True
    )
    watcher_thread.start()
    reason = signals.wait()
    stop.set()
    watcher_thread.join(2.0)
    controller.close()
    current_runtime().shutdown(reason)
    control_api.close()


def _warn_about_missing(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.exists():
            logger.warning("%s is not there yet: it is followed as soon as it is", path)


def _watch_manifests(watcher: ManifestWatcher, listed: threading.Event, stop: threading.Event) -> None:
    watcher.scan()
    listed.set()
    watcher.watch(stop)
