"""The standalone controller: manifests in files, followed; elections for their locks; until a signal comes.

The order of the end: the files are followed no more, nothing is changed any more, the jobs are stopped, the locks
released, and only then the control API closes: nobody's lock waits for a page. Then the process ends with 0.
"""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from masterjob.cli.options import DatabaseOptions, Paths, no_manifest
from masterjob.cli.staying.api import ApiOptions
from masterjob.cli.staying.ground import Ground
from masterjob.cli.staying.logs import LogOptions
from masterjob.cli.staying.signals import Signals
from masterjob.controller.controller import Controller
from masterjob.main import this_process
from masterjob.resource.files import Files

logger = logging.getLogger("masterjob")

HELP = """Follow MasterJob manifests in files and folders, and take part in the election of their locks.

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


def run(paths: Paths, database: DatabaseOptions, log: LogOptions, api: ApiOptions) -> None:
    """Run until a signal comes."""
    ground = Ground(database, log, api)
    controller = Controller(this_process(), ground.settings, ground.jobs)
    signals = Signals()
    ground.say_hello("masterjob", ", ".join(map(str, paths)))
    _warn_of_missing(paths)
    listed, stop = threading.Event(), threading.Event()
    checks = [lambda: None if listed.is_set() else "the manifests were not read yet", controller.unreached]
    served = ground.serve(checks)
    controller.start()
    files = Files(paths, controller, besides=no_manifest(database.config))
    follower = threading.Thread(target=_follow, args=(files, listed, stop), name="masterjob files", daemon=True)
    follower.start()
    why = signals.wait()
    stop.set()
    follower.join(2.0)
    controller.close()
    this_process().close_all(why)
    served.close()


def _warn_of_missing(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.exists():
            logger.warning("%s is not there yet: it is followed as soon as it is", path)


def _follow(files: Files, listed: threading.Event, stop: threading.Event) -> None:
    files.read()
    listed.set()
    files.follow(stop)
