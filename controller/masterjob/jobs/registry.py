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

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.config.fields import Field, SectionLocator
from masterjob.election.ports import Job
from masterjob.election.values import validate_lock_name
from masterjob.errors import SettingError
from masterjob.jobs import entries
from masterjob.jobs.exec import spec as exec_spec
from masterjob.jobs.http import spec as http_spec
from masterjob.jobs.python import spec as python_spec

MAX_JOBS = 10_000


class JobSpec(Protocol):
    """A job that locks can name."""

    @property
    def kind(self) -> str:
        """What it is: ``exec``, ``python_spec`` or ``http_spec``."""

    def check(self) -> None:
        """Find out now what would keep every start from succeeding, as far as that can be told without one.

        Raises:
            SettingError: it can never work.
        """

    def create_job(self, pool: ThreadPool, stop_timeout: float) -> Job:
        """Return a job for one lock, whose stop may take ``stop_timeout`` seconds; each lock needs its own.

        Raises:
            SettingError: as `check`.
        """


_SPEC_PARSERS: Mapping[str, Callable[[Field], JobSpec]] = {
    "exec": exec_spec.parse_spec,
    "python": python_spec.parse_spec,
    "http": http_spec.parse_spec,
}


def parse_jobs(section: object, locate: SectionLocator) -> dict[str, JobSpec]:
    """Return the jobs of a config file's ``jobs``, by name. Nothing is imported, started or read for it.

    ``locate`` gets the path of a value within the section, names and list indices as text, and names its file,
    line and field.

    Raises:
        SettingError: something in it cannot be.
    """
    root = Field(section, (), locate)
    return {
        _job_name(name, field): _job_spec(field) for name, field in root.entries(MAX_JOBS, "jobs by name").items()
    }


def discover_jobs() -> dict[str, JobSpec]:
    """Return the jobs that installed packages offer as entry points of the group ``masterjob.jobs``, by name.

    Nothing of them is imported before `JobSpec.check` or `JobSpec.create_job`.

    Raises:
        SettingError: two packages offer different jobs of one name.
    """
    return dict(entries.discover_entry_points())


def _job_name(name: str, field: Field) -> str:
    try:
        return validate_lock_name(name)  # a job that is not named is the one with the lock's name
    except SettingError:
        raise field.error("is no name: it needs 1 to 200 characters, without white space around them") from None


def _job_spec(field: Field) -> JobSpec:
    sections = field.fields(list(_SPEC_PARSERS))
    if len(sections) != 1:
        raise field.error(f"must have exactly one of {', '.join(_SPEC_PARSERS)}")
    [(kind, value)] = sections.items()
    return _SPEC_PARSERS[kind](value)
