"""A Python object as the config file or an entry point names it: ``package.module:object``.

cleaner: {python: {entry: "shop.jobs:cleaner", restart: always, startSeconds: 10}}
"""

import importlib
import re
from dataclasses import dataclass, replace

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.config.fields import Field, TextRule, text
from masterjob.election.ports import Job
from masterjob.errors import SettingError
from masterjob.jobs.policy import NO_POLICY, POLICY_FIELDS, GivenPolicy, parse_given_policy
from masterjob.jobs.python.job import CallableSpec, MasterJob, as_master_job

_ENTRY = TextRule(
    r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*", "must be of the form package.module:object"
)


@dataclass(frozen=True, slots=True)
class PythonSpec:
    """A `MasterJob`, or any object with ``start`` or ``run``, and perhaps ``stop``. `create_job` imports it.

    All locks that name the job call the same object.
    """

    entry: str
    location: str
    """Where the entry is written, for errors."""
    policy: GivenPolicy = NO_POLICY
    """What the config file says about the life of its runs. It comes before what the object says."""

    def create_job(self, pool: ThreadPool, stop_timeout: float) -> Job:
        """Return the job of one lock.

        Raises:
            SettingError: the object cannot be imported, or is not a job.
        """
        return CallableSpec(self.import_job()).create_job(pool, stop_timeout)

    def import_job(self) -> MasterJob:
        """Return the job that the entry names, with the policy of the config file.

        Raises:
            SettingError: the object cannot be imported, or is not such a job.
        """
        try:
            return self._with_policy(_as_master_job(self._import_object()))
        except SettingError as error:
            raise SettingError(f"{self.location}: {self.entry:.200} {error}") from error.__cause__

    def _with_policy(self, job: MasterJob) -> MasterJob:
        policy = self.policy
        try:
            return replace(
                job,
                restart=policy.restart or job.restart,
                once=job.once if policy.once is None else policy.once,
                start_seconds=policy.start_seconds or job.start_seconds,
            )
        except SettingError as error:
            raise SettingError(f"cannot have this policy: {error}") from None

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
    if isinstance(found, type):
        raise SettingError("is a class: name an instance of it")
    try:
        return as_master_job(found)
    except SettingError as error:
        raise SettingError(f"is not a job: {error}") from None


def parse_spec(field: Field) -> PythonSpec:
    """Return the spec that the config file has. Nothing is imported yet.

    Raises:
        SettingError: the entry is not valid.
    """
    field.check_names(["entry", *POLICY_FIELDS])
    entry = field["entry"].required(text(512, _ENTRY))
    return PythonSpec(entry, field["entry"].location, parse_given_policy(field))
