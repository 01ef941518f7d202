"""The exceptions of this package. A module in brackets has the class; all others are here, and public.

MasterJobError
├── InvalidValue             a value is not valid (also a ValueError)
│   └── SettingError         a setting or an argument is missing or not valid
│       ├── TimingError      the lease is too short for the heartbeats and the stop
│       └── UnknownJob       a resource names a job that this process does not have (controller/managed_locks.py)
├── StoreUnavailable         the database did not answer: the outcome is unknown
│   ├── StoreRefused         it refuses this process: a wrong password, no such database, missing rights
│   ├── TablesMissing        it has no tables, or not any more
│   └── StatementFailed      it answered that one statement failed                  (store/connection/)
│       └── ConstraintViolation  a constraint was violated: nothing was written     (store/connection/)
├── TermLost                 the term is over: what it protects must not happen
├── CommandFailed            a command did not start, or did not end as it should  (jobs/exec/execution.py)
├── HookFailed               an HTTP hook did not answer with 2xx                   (jobs/http/request.py)
├── ApiUnavailable           the Kubernetes API server did not answer               (kube/api/errors.py)
│   └── CrdNotInstalled      it does not know the type MasterJob                    (kube/api/errors.py)
├── ApiRefused               it refused the request                                 (kube/api/errors.py)
├── ApiConflict              the object has changed meanwhile                       (kube/api/errors.py)
├── ApiNotFound              the object does not exist                              (kube/api/errors.py)
├── RequestRejected          an HTTP request is not allowed or not valid            (web/access/auth.py)
├── LockStateConflict        the state of the lock does not allow it: HTTP 409      (web/api/switches.py)
└── ServerBusy               too many HTTP requests, or no answer in time           (web/pool.py)

That another instance holds the lock is not an error: it is an answer.
"""

from enum import StrEnum


class MasterJobError(Exception):
    """The base class of all exceptions of this package."""


class InvalidValue(MasterJobError, ValueError):
    """A value is not valid. The message names it and says what fixes it."""


class SettingError(InvalidValue):
    """A setting or an argument is missing or not valid. The message says which, where, and what fixes it."""


class TimingError(SettingError):
    """The lease is too short for the heartbeats and the stop. The message says how long it must be."""


class StoreUnavailable(MasterJobError):
    """The database did not answer, or its answer was lost: whether the operation happened is unknown."""

    is_outage = True
    """Whether the database could not be used at all. False: it works, and this statement failed."""


class Refusal(StrEnum):
    """Why a database refuses a process. None of these ends by itself."""

    LOGIN = "it does not accept this user or password"
    NO_DATABASE = "there is no such database"
    RIGHTS = "the user lacks rights"
    OPTION = "an option of the database URL is not valid"
    ENCODING = "the encoding of the database cannot be converted to UTF-8"


class StoreRefused(StoreUnavailable):
    """The database refuses this process. To retry does not help: a setting or a right has to change."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


class TablesMissing(StoreUnavailable):
    """The tables are missing in the database. A process that has used them creates them again."""


class TermLost(MasterJobError):
    """The term is over: another instance may be the master by now."""


def describe(error: BaseException) -> str:
    """Return the type and the message of an exception, or only its type if the message raises."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
