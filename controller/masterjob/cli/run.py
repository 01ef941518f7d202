"""The standalone controller: manifests in files, followed; elections for their locks; until a signal comes.

The order of the end: the files are followed no more, nothing is changed any more, the jobs are stopped, the locks
released. Then the process ends with 0.
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

from masterjob.cli.logs import LogFormat, LogLevel, set_up
from masterjob.cli.options import ConfigFile, DatabaseUrl, no_manifest, options_of
from masterjob.controller import Controller
from masterjob.documents import Document
from masterjob.election.errors import SettingError
from masterjob.files import Files
from masterjob.jobs import named
from masterjob.jobs.named import JobSpec
from masterjob.main import this_process
from masterjob.masking import masked
from masterjob.settings import Settings, config_document, config_section, resolve

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
"""

Paths = Annotated[
    list[Path],
    typer.Argument(metavar="PATH…", help="Manifests, or folders that hold some.", show_default=False),
]


def run(
    paths: Paths,
    database: DatabaseUrl = None,
    config: ConfigFile = None,
    log_format: Annotated[LogFormat, typer.Option(help="How a line of the log looks.")] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(help="From which level on lines are written.")] = LogLevel.INFO,
) -> None:
    """Run until a signal comes."""
    set_up(log_format, log_level)
    sys.path.append(str(Path.cwd()))  # Python jobs may be modules of the folder that this is started in
    document = config_document(os.environ, config)

    def settings(options: Mapping[str, object]) -> Settings:
        return resolve({**options_of(database), **options}, os.environ, document)

    jobs = known_jobs(document)
    controller = Controller(this_process(), settings, jobs)
    signals = Signals()
    _say_hello(paths, settings({}), jobs)
    controller.start()
    stop = threading.Event()
    files = Files(paths, controller, besides=no_manifest(config))
    follower = threading.Thread(target=_follow, args=(files, stop), name="masterjob files", daemon=True)
    follower.start()
    number = signals.wait()
    logger.info("%s: stopping the jobs and releasing the locks", number.name)
    stop.set()
    follower.join(2.0)
    controller.close()
    this_process().close_all(number.name)


def _follow(files: Files, stop: threading.Event) -> None:
    files.read()
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


def known_jobs(document: Document | None) -> dict[str, JobSpec]:
    """Return the jobs that installed packages offer and that the config file names, which win.

    One that is wrong is told, and the others are there all the same.
    """
    jobs = named.discovered()
    section = {} if document is None else config_section(document, "jobs")
    for name, entry in section.items():
        assert document is not None  # noqa: S101 - it has a section
        try:
            jobs.update(named.parse({name: entry}, document.below("jobs")))
        except SettingError as error:
            logger.warning("%s", error)
    return jobs
