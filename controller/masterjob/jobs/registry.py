"""Jobs by name: those of the config file's section ``jobs``, and those that installed packages offer.

    jobs:
      nightly: {exec: {command: [sh, -c, "make report"]}}
      cleaner: {python: {entry: "shop.jobs:cleaner"}}
      remote:  {http: {start: https://host/start, stop: https://host/stop}}

This module knows only names and kinds: each kind reads its own fields in its ``spec.py``. The deployment decides
what a job runs; a manifest can only name it.
"""

import logging
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Protocol

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.config.documents import Document
from masterjob.config.fields import Field, SectionLocator
from masterjob.config.settings import config_section
from masterjob.election.ports import Job
from masterjob.election.values import validate_lock_name
from masterjob.errors import SettingError
from masterjob.jobs.exec import spec as exec_spec
from masterjob.jobs.http import spec as http_spec
from masterjob.jobs.python import spec as python_spec

logger = logging.getLogger("masterjob")

MAX_JOBS = 10_000

ENTRY_POINT_GROUP = "masterjob.jobs"
"""The group of entry points in which packages offer jobs."""


class JobSpec(Protocol):
    """A job that locks can name."""

    def create_job(self, pool: ThreadPool, stop_timeout: float) -> Job:
        """Return a job for one lock, whose stop may take ``stop_timeout`` seconds. Each lock needs its own.

        Raises:
            SettingError: the job can never work.
        """


_SPEC_PARSERS: Mapping[str, Callable[[Field], JobSpec]] = {
    "exec": exec_spec.parse_spec,
    "python": python_spec.parse_spec,
    "http": http_spec.parse_spec,
}


def known_jobs(document: Document | None) -> dict[str, JobSpec]:
    """Return the jobs of `load_jobs`, and log a warning for each entry that is not valid."""
    jobs, errors = load_jobs(document)
    for error in errors.values():
        logger.warning("%s", error)
    return jobs


def load_jobs(document: Document | None) -> tuple[dict[str, JobSpec], dict[str, SettingError]]:
    """Return the jobs of installed packages and of the config file, and the errors of its entries, both by name.

    A job of the config file replaces one of the same name that a package offers.

    Raises:
        SettingError: two packages offer different jobs of one name, or ``jobs`` is not a mapping.
    """
    jobs, errors = discover_jobs(), dict[str, SettingError]()
    if document is not None:
        for name, value in config_section(document, "jobs").items():
            try:
                jobs.update(parse_jobs({name: value}, document.field_locator("jobs")))
            except SettingError as error:
                errors[name] = error
    return jobs, errors


def parse_jobs(section: object, locate: SectionLocator) -> dict[str, JobSpec]:
    """Return the jobs of a config file's ``jobs``, by name. This imports, starts and reads nothing.

    ``locate`` gets the path of a value within the section, names and list indices as text, and returns its file,
    line and field.

    Raises:
        SettingError: an entry is not valid.
    """
    root = Field(section, (), locate)
    return {
        _parse_name(name, field): _parse_spec(field)
        for name, field in root.entries(MAX_JOBS, "jobs by name").items()
    }


def discover_jobs() -> dict[str, JobSpec]:
    """Return the jobs that installed packages offer, by name. `JobSpec.create_job` imports them.

    Raises:
        SettingError: two packages offer different jobs of one name.
    """
    specs: dict[str, python_spec.PythonSpec] = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        location = f"entry point {entry_point.name} of the group {ENTRY_POINT_GROUP}"
        spec = python_spec.PythonSpec(entry_point.value, location)
        other = specs.setdefault(entry_point.name, spec)
        if other != spec:
            raise SettingError(f"{location} is both {spec.entry} and {other.entry}: uninstall one of the packages")
    return dict(specs)


def _parse_name(name: str, field: Field) -> str:
    try:
        return validate_lock_name(name)  # a MasterJob that names no job runs the one with its lock's name
    except SettingError:
        raise field.error(
            "is not a valid job name: use 1 to 200 characters, the first and the last not whitespace"
        ) from None


def _parse_spec(field: Field) -> JobSpec:
    sections = field.fields(list(_SPEC_PARSERS))
    if len(sections) != 1:
        raise field.error(f"must have exactly one of {', '.join(_SPEC_PARSERS)}")
    [(kind, value)] = sections.items()
    return _SPEC_PARSERS[kind](value)
