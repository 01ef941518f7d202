"""The fields of a log record, beside its sentence, so that a program need not read the sentence.

A log line of JSON has them as keys, a line of text as ``key=value`` (``--log-fields``). In an application they are
attributes of the record.
"""

from typing import TypedDict, Unpack


class LogFields(TypedDict, total=False):
    """The fields. None means that a record lacks it."""

    lock: str | None
    term: int | None
    instance: str | None
    event: str | None
    """What happened: the kind of a transition as in the history, or one of a few other words."""
    reason: str | None
    """Why it happened; reads as the end of a sentence."""
    stream: str | None
    """Where a line of a command's output comes from: stdout or stderr."""
    exit_code: int | None


FIELD_NAMES = tuple(LogFields.__annotations__)
"""The fields in the order in which a line shows them."""


def log_fields(**fields: Unpack[LogFields]) -> dict[str, object]:
    """Return the fields that have a value, for the argument ``extra`` of a logger's method."""
    return {name: value for name, value in fields.items() if value is not None}
