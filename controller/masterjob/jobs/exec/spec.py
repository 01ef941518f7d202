"""A command as the config file has it.

nightly: {exec: {command: [sh, -c, "make report"], environment: {LANG: C}, directory: /srv/report,
                 stdoutLevel: info, stderrLevel: warning}}
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.config.fields import ENCODABLE, MAX_TEXT_LENGTH, NOT_EMPTY, Field, one_of, text
from masterjob.election.ports import Job
from masterjob.jobs.exec.command import RESERVED_VARIABLES, ExecCommand
from masterjob.jobs.exec.output import OutputLevels
from masterjob.jobs.exec.run import ExecRun
from masterjob.jobs.policy import DEFAULT_POLICY, POLICY_FIELDS, RunPolicy, parse_policy
from masterjob.jobs.run import JobRunner

MAX_ITEMS = 256

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_COMMAND_EXAMPLE = '[sh, -c, "make report"]'
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_argument = text(MAX_TEXT_LENGTH, ENCODABLE)


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A command. It need not exist before it is started: it may be installed later."""

    command: ExecCommand
    policy: RunPolicy = DEFAULT_POLICY

    def create_job(self, pool: ThreadPool, stop_timeout: float) -> Job:
        """Return the job of one lock."""
        return JobRunner(partial(ExecRun, self.command, self.policy, pool), stop_timeout)


def parse_spec(field: Field) -> ExecSpec:
    """Return the spec that the config file has.

    Raises:
        SettingError: a field is not valid.
    """
    names = ("command", "environment", "directory", "stdoutLevel", "stderrLevel")
    field.check_names([*names, *POLICY_FIELDS])
    return ExecSpec(
        ExecCommand(
            argv=field["command"].required(_parse_command),
            environment=field["environment"].optional(_parse_environment, {}),
            directory=field["directory"].optional(text(4096, NOT_EMPTY, ENCODABLE), None),
            output_levels=OutputLevels(
                stdout=field["stdoutLevel"].optional(_parse_level, logging.INFO),
                stderr=field["stderrLevel"].optional(_parse_level, logging.INFO),
            ),
        ),
        parse_policy(field),
    )


def _parse_level(field: Field) -> int:
    return _LEVELS[one_of(_LEVELS)(field)]


def _parse_command(field: Field) -> tuple[str, ...]:
    items = field.items(MAX_ITEMS, _COMMAND_EXAMPLE)
    if not items:
        raise field.error(f"must be a list such as {_COMMAND_EXAMPLE}")
    program = items[0].required(text(MAX_TEXT_LENGTH, NOT_EMPTY, ENCODABLE))
    return program, *(_argument(item) for item in items[1:])


def _parse_environment(field: Field) -> Mapping[str, str]:
    variables = field.entries(MAX_ITEMS, "variables of the command")
    for name, variable in variables.items():
        if not _VARIABLE.fullmatch(name):
            raise variable.error("is not a valid variable name: use letters, digits and _")
        if name in RESERVED_VARIABLES:
            raise variable.error("cannot be set: masterjob sets it to the term of the command")
    return {name: _argument(variable) for name, variable in variables.items()}
