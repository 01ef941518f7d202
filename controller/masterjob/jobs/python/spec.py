"""A Python object as the config file or an entry point names it: ``package.module:object``.

cleaner: {python: {entry: "shop.jobs:cleaner"}}
"""

import importlib
import re
from dataclasses import dataclass

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.config.fields import Field, TextRule, text
from masterjob.election.ports import Job
from masterjob.errors import SettingError
from masterjob.job_status import START_SECONDS
from masterjob.jobs.policy import parse_start_seconds
from masterjob.jobs.python.job import CallableSpec, MasterJob

_ENTRY = TextRule(
    r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*", "must be of the form package.module:object"
)


@dataclass(frozen=True, slots=True)
class PythonSpec:
    """A `MasterJob`, or any object with ``start`` and perhaps ``stop``. `create_job` imports it.

    All locks that name the job call the same object.
    """

    entry: str
    location: str
    """Where the entry is written, for errors."""
    start_seconds: float = START_SECONDS

    def create_job(self, pool: ThreadPool, stop_timeout: float) -> Job:
        """Return the job of one lock.

        Raises:
            SettingError: the object cannot be imported, or is not a job.
        """
        return CallableSpec(self._import_job(), start_seconds=self.start_seconds).create_job(pool, stop_timeout)

    def _import_job(self) -> MasterJob:
        try:
            return _as_master_job(self._import_object())
        except SettingError as error:
            raise SettingError(f"{self.location}: {self.entry:.200} {error}") from error.__cause__

    def _import_object(self) -> object:
        if not re.fullmatch(_ENTRY.pattern, self.entry):  # an entry point is not checked before
            raise SettingError("is not of the form package.module:object")
        name, _, path = self.entry.partition(":")
        try:
            found: object = importlib.import_module(name)
        except (Exception, SystemExit) as error:  # the module's own code runs here
            raise SettingError(f"cannot be imported: {type(error).__name__}: {error}") from error
        for attribute in path.split("."):
            try:
                found = getattr(found, attribute)
            except AttributeError:
                raise SettingError(f"cannot be imported: {name} has no {attribute}") from None
        return found


def _as_master_job(found: object) -> MasterJob:
    if isinstance(found, MasterJob):
        return found
    if isinstance(found, type):
        raise SettingError("is a class: name an instance of it")
    start, stop = getattr(found, "start", None), getattr(found, "stop", None)
    if start is None:
        raise SettingError("is not a job: it has no start")
    try:
        return MasterJob(start, stop)
    except SettingError as error:
        raise SettingError(f"is not a job: {error}") from None


def parse_spec(field: Field) -> PythonSpec:
    """Return the spec that the config file has. Nothing is imported yet.

    Raises:
        SettingError: the entry is not valid.
    """
    field.check_names(["entry", "startSeconds"])
    entry = field["entry"].required(text(512, _ENTRY))
    start_seconds = field["startSeconds"].optional(parse_start_seconds, START_SECONDS)
    return PythonSpec(entry, field["entry"].location, start_seconds)
