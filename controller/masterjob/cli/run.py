"""The standalone controller: manifests in files, followed; elections for their locks; until a signal comes.

The order of the end: the files are followed no more, nothing is changed any more, the jobs are stopped, the locks
released, and only then the control API closes: nobody's lock waits for a page. Then the process ends with 0.
"""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from masterjob.cli import serving
from masterjob.cli.logs import LogFormat, LogLevel, set_up
from masterjob.cli.options import ConfigFile, DatabaseUrl, no_manifest, options_of, switchboard_of
from masterjob.controller.catalogue import known_jobs
from masterjob.controller.controller import Controller
from masterjob.jobs.named import JobSpec
from masterjob.main import this_process
from masterjob.masking import masked
from masterjob.resource.files import Files
from masterjob.settings import Settings, config_document, resolve

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

Paths = Annotated[
    list[Path],
    typer.Argument(metavar="PATH…", help="Manifests, or folders that hold some.", show_default=False),
]


def run(  # noqa: PLR0913, PLR0917 - the options of a command
    paths: Paths,
    database: DatabaseUrl = None,
    config: ConfigFile = None,
    log_format: Annotated[LogFormat, typer.Option(help="How a line of the log looks.")] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(help="From which level on lines are written.")] = LogLevel.INFO,
    host: serving.Host = None,
    port: serving.Port = None,
    no_api: serving.NoApi = False,
    auth: serving.Who = None,
    tokens: serving.Tokens = None,
    tls_cert: serving.TlsCert = None,
    tls_key: serving.TlsKey = None,
    allowed_host: serving.AllowedHost = None,
    probe_port: serving.ProbePort = None,
    probe_host: serving.ProbeHost = None,
) -> None:
    """Run until a signal comes."""
    listening = serving.Options(
        host, port, no_api, auth, tokens, tls_cert, tls_key, allowed_host, probe_port, probe_host
    )
    set_up(log_format, log_level)
    sys.path.append(str(Path.cwd()))  # Python jobs may be modules of the folder that this is started in
    document = config_document(os.environ, config)

    def settings(options: Mapping[str, object]) -> Settings:
        return resolve({**options_of(database), **options}, os.environ, document)

    jobs = known_jobs(document)
    controller = Controller(this_process(), settings, jobs)
    signals = Signals()
    _say_hello(paths, settings({}), jobs)
    listed, stop = threading.Event(), threading.Event()
    checks = [lambda: None if listed.is_set() else "the manifests were not read yet", controller.unreached]
    api = serving.begin(listening, document, lambda: switchboard_of(database, config), checks)
    controller.start()
    files = Files(paths, controller, besides=no_manifest(config))
    follower = threading.Thread(target=_follow, args=(files, listed, stop), name="masterjob files", daemon=True)
    follower.start()
    number = signals.wait()
    logger.info("%s: stopping the jobs and releasing the locks", number.name)
    stop.set()
    follower.join(2.0)
    controller.close()
    this_process().close_all(number.name)
    api.close()


def _follow(files: Files, listed: threading.Event, stop: threading.Event) -> None:
    files.read()
    listed.set()
    files.follow(stop)


class Signals:
    """SIGTERM and SIGINT, waited for; a second one ends the process as if we were not there.

    The kernel may give a signal to any thread, and Python runs handlers in the main one alone, once it does
    anything. So the main thread waits for the byte that Python writes in whichever thread it was.
    """

    _OURS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for each in self._OURS:
            signal.signal(each, lambda _number, _frame: None)

    def wait(self) -> signal.Signals:
        """Wait for the first one."""
        while (number := self._receiver.recv(1)[0]) not in self._OURS:
            pass
        for each in self._OURS:
            signal.signal(each, signal.SIG_DFL)
        return signal.Signals(number)


def _say_hello(paths: Sequence[Path], settings: Settings, jobs: Mapping[str, JobSpec]) -> None:
    known = ", ".join(sorted(jobs)) or "none"
    logger.info(
        "masterjob (pid %s) follows %s on %s; jobs: %s",
        os.getpid(),
        ", ".join(map(str, paths)),
        masked(settings.database),
        known,
    )
    for path in paths:
        if not path.exists():
            logger.warning("%s is not there yet: it is followed as soon as it is", path)
