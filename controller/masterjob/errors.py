"""What can go wrong, as a tree.

MasterJobError
├── SettingError        an argument, variable or file says something that cannot be   (also a ValueError)
│   └── TimingError     the timing breaks the one inequality of the protocol
├── StoreUnavailable    the database gave no answer, or none that decides anything
└── TermLost            the term is over; what it guarded must not happen

"Somebody else holds the lock" is not an error and has no class: it is an answer.
"""


class MasterJobError(Exception):
    """Base of every error that this package raises on purpose."""


class SettingError(MasterJobError, ValueError):
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
