"""The log on standard error: lines of text for people, or lines of JSON for programs."""

import json
import logging
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from masterjob.lock_status import format_timestamp
from masterjob.log_fields import FIELD_NAMES
from masterjob.runtime.runtime import current_runtime

_PLAIN_VALUE = re.compile(r"[^\s=\"\\]+")
"""A value that needs no quotes."""

_ESCAPES = {"\n": "\n  ", "\t": "\t"}
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LogFormat(StrEnum):
    """The format of the log."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The options of the log."""

    log_format: Annotated[LogFormat, typer.Option("--log-format", help="The format of the log.")] = LogFormat.TEXT
    log_level: Annotated[LogLevel, typer.Option("--log-level", help="The lowest level to log.")] = LogLevel.INFO
    log_fields: Annotated[
        bool,
        typer.Option(
            "--log-fields", help="Append fields such as lock=REPORT term=7 to lines of text; JSON has them."
        ),
    ] = False

    def configure(self) -> None:
        """Log to standard error; of other packages only warnings."""
        handler = logging.StreamHandler(sys.stderr)
        is_json = self.log_format is LogFormat.JSON
        handler.setFormatter(JsonFormatter() if is_json else TextFormatter(shows_fields=self.log_fields))
        handler.addFilter(InstanceFilter())
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
        logging.getLogger("masterjob").setLevel(self.log_level.upper())


class InstanceFilter(logging.Filter):
    """Adds the instance of this process to records that do not name one."""

    def __init__(self) -> None:
        super().__init__()
        self._instance: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the field, and return True."""
        if (only_instance := current_runtime().only_instance()) is not None:
            self._instance = only_instance.runner.identity.instance
        if self._instance is not None and not hasattr(record, "instance"):
            record.instance = self._instance
        return True


class TextFormatter(logging.Formatter):
    """A line of text: time, level if it is not INFO, message; with ``shows_fields`` also the fields."""

    def __init__(self, *, shows_fields: bool = False) -> None:
        super().__init__()
        self._shows_fields = shows_fields

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        fields = _format_fields(record) if self._shows_fields else ""
        message = record.getMessage()
        traceback = super().format(record).removeprefix(message)  # if there is one, it begins on a line of its own
        return f"{_timestamp(record)} {level}{_escape(f'{message}{fields}{traceback}')}"


def _format_fields(record: logging.LogRecord) -> str:
    """Return the fields as logfmt, with a space in front. A reason that the message contains is left out."""
    fields = {name: vars(record)[name] for name in FIELD_NAMES if name in vars(record)}
    if "reason" in fields and str(fields["reason"]) in record.getMessage():
        del fields["reason"]
    return "".join(f" {name}={_format_value(str(value))}" for name, value in fields.items())


def _format_value(value: str) -> str:
    return value if _PLAIN_VALUE.fullmatch(value) else json.dumps(value, ensure_ascii=False)


def _escape(text: str) -> str:
    """Escape control characters: a reason from a user could contain a line break, or colour the terminal.

    The lines of a traceback are indented, so that none looks like a line of the log.
    """
    return "".join(each if each.isprintable() else _ESCAPES.get(each) or repr(each)[1:-1] for each in text)


class JsonFormatter(logging.Formatter):
    """An object on one line: time, level, logger, message, and the extra attributes of the record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def _timestamp(record: logging.LogRecord) -> str:
    return format_timestamp(datetime.fromtimestamp(record.created, UTC), "milliseconds")
