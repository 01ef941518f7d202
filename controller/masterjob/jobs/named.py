"""Jobs by name, as the config file has them under ``jobs:`` and installed packages offer them.

    jobs:
      nightly: {exec: {command: [sh, -c, "make report"]}}
      cleaner: {python: {entry: "shop.jobs:cleaner"}}
      remote:  {http: {start: https://host/start, stop: https://host/stop}}

Only names and kinds are known here: each kind reads its own fields (its ``spec.py``). What a job runs is set by
whoever deploys us, never by a manifest (design 6.5).
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from masterjob.election.errors import SettingError
from masterjob.election.ports import Job
from masterjob.election.values import lock_name
from masterjob.jobs import entries
from masterjob.jobs.command import spec as command
from masterjob.jobs.crew import Crew
from masterjob.jobs.fields import Field, Where
from masterjob.jobs.http import spec as http
from masterjob.jobs.python import spec as python

MOST_JOBS = 10_000


class JobSpec(Protocol):
    """A job that locks can name."""

    @property
    def kind(self) -> str:
        """What it is: ``exec``, ``python`` or ``http``."""

    def check(self) -> None:
        """Find out now what would keep every start from succeeding, as far as that can be told without one.

        Raises:
            SettingError: it can never work.
        """

    def make(self, crew: Crew, stop_timeout: float) -> Job:
        """Return a job for one lock, whose stop may take ``stop_timeout`` seconds; each lock needs its own.

        Raises:
            SettingError: as `check`.
        """


_READERS: Mapping[str, Callable[[Field], JobSpec]] = {
    "exec": command.read,
    "python": python.read,
    "http": http.read,
}


def parse(section: object, where: Where) -> dict[str, JobSpec]:
    """Return the jobs of a config file's ``jobs``, by name. Nothing is imported, started or read for it.

    ``where`` gets the path of a value within the section, names and list indices as text, and names its file,
    line and field.

    Raises:
        SettingError: something in it cannot be.
    """
    top = Field(section, (), where)
    return {_name(name, field): _spec(field) for name, field in top.entries(MOST_JOBS, "jobs by name").items()}


def discovered() -> dict[str, JobSpec]:
    """Return the jobs that installed packages offer as entry points of the group ``masterjob.jobs``, by name.

    Nothing of them is imported before `JobSpec.check` or `JobSpec.make`.

    Raises:
        SettingError: two packages offer different jobs of one name.
    """
    return dict(entries.discovered())


def _name(name: str, field: Field) -> str:
    try:
        return lock_name(name)  # a job that is not named is the one with the lock's name
    except SettingError:
        raise field.wrong("is no name: it needs 1 to 200 characters, without white space around them") from None


def _spec(field: Field) -> JobSpec:
    kinds = field.fields(list(_READERS))
    if len(kinds) != 1:
        raise field.wrong(f"must have exactly one of {', '.join(_READERS)}")
    [(kind, said)] = kinds.items()
    return _READERS[kind](said)
