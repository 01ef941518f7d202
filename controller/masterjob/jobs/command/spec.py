"""A command as the config file names it.

nightly: {exec: {command: [sh, -c, "make report"], environment: {LANG: C}, directory: /srv/report}}
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from masterjob.election.ports import Job
from masterjob.jobs.command.command import OWN_VARIABLES, Command
from masterjob.jobs.command.job import ExecJob
from masterjob.jobs.crew import Crew
from masterjob.jobs.fields import Field

MOST_ITEMS = 256

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A command. Whether there is one is seen when it is started: it may be installed later."""

    command: Command
    kind = "exec"

    def check(self) -> None:
        """Nothing can be told before."""

    def make(self, crew: Crew, stop_timeout: float) -> Job:
        """Return a job of one lock."""
        return ExecJob(self.command, crew, stop_timeout)


def read(field: Field) -> ExecSpec:
    """Return what stands in the config file.

    Raises:
        SettingError: something of it cannot be.
    """
    fields = field.fields(["command", "environment", "directory"], needed=["command"])
    items = fields["command"].items(MOST_ITEMS, '[sh, -c, "make report"]')
    argv = (items[0].some_text(), *(item.text() for item in items[1:]))
    environment = _environment(fields["environment"]) if "environment" in fields else {}
    directory = fields["directory"].some_text(4096) if "directory" in fields else None
    return ExecSpec(Command(argv, environment, directory))


def _environment(field: Field) -> Mapping[str, str]:
    values = field.entries(MOST_ITEMS, "variables of the command")
    for name, value in values.items():
        if not _VARIABLE.fullmatch(name):
            raise value.wrong("is no name of a variable: it needs letters, digits and _")
        if name in OWN_VARIABLES:
            raise value.wrong("cannot be set: it is what the command learns its term from")
    return {name: value.text() for name, value in values.items()}
