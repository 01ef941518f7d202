"""What can go wrong, as a tree.

MasterJobError
├── InvalidValue        a value is not valid   (also a ValueError)
│   └── SettingError    an argument, environment variable or file has a value that is not valid
│       └── TimingError the timing breaks the one inequality of the protocol
├── StoreUnavailable    the database gave no answer, or none that decides anything
└── TermLost            the term is over; what it guarded must not happen

"Somebody else holds the lock" is not an error and has no class: it is an answer.
"""


class MasterJobError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidValue(MasterJobError, ValueError):
    """A value is not valid. The message names it and says what fixes it."""


class SettingError(InvalidValue):
    """A setting is missing or wrong. The message names it, where it came from, and what would do."""


class TimingError(SettingError):
    """The timing leaves no room for a missed heartbeat. The message names a lease that would do."""


class StoreUnavailable(MasterJobError):
    """The database could not be asked, or its answer was lost: the outcome is unknown."""


class TermLost(MasterJobError):
    """The term is over: another instance may be master by now."""


def describe(error: BaseException) -> str:
    """Return an error in words, also where it has none that can be had."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
