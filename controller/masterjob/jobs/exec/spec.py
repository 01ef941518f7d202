"""A command as the config file names it.

nightly: {exec: {command: [sh, -c, "make report"], environment: {LANG: C}, directory: /srv/report}}
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.config.fields import Field
from masterjob.election.ports import Job
from masterjob.jobs.exec.command import RESERVED_VARIABLES, ExecCommand
from masterjob.jobs.exec.run import ExecRun
from masterjob.jobs.run import JobRunner

MAX_ITEMS = 256

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A command. It need not exist before it is started: it may be installed later."""

    command: ExecCommand

    def create_job(self, pool: ThreadPool, stop_timeout: float) -> Job:
        """Return the job of one lock."""
        return JobRunner(partial(ExecRun, self.command, pool), stop_timeout)


def parse_spec(field: Field) -> ExecSpec:
    """Return what stands in the config file.

    Raises:
        SettingError: something of it cannot be.
    """
    fields = field.fields(["command", "environment", "directory"], required=["command"])
    items = fields["command"].items(MAX_ITEMS, '[sh, -c, "make report"]')
    argv = (items[0].nonempty_text(), *(item.text() for item in items[1:]))
    environment = _parse_environment(fields["environment"]) if "environment" in fields else {}
    directory = fields["directory"].nonempty_text(4096) if "directory" in fields else None
    return ExecSpec(ExecCommand(argv, environment, directory))


def _parse_environment(field: Field) -> Mapping[str, str]:
    values = field.entries(MAX_ITEMS, "variables of the command")
    for name, value in values.items():
        if not _VARIABLE.fullmatch(name):
            raise value.error("is no name of a variable: it needs letters, digits and _")
        if name in RESERVED_VARIABLES:
            raise value.error("cannot be set: it is what the command learns its term from")
    return {name: value.text() for name, value in values.items()}
