"""The log on standard error: lines of text for people, or lines of JSON for programs."""

import json
import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from masterjob.lock_status import format_timestamp

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

    def configure(self) -> None:
        """Log to standard error; of other packages only warnings."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter() if self.log_format is LogFormat.JSON else TextFormatter())
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
        logging.getLogger("masterjob").setLevel(self.log_level.upper())


class TextFormatter(logging.Formatter):
    """A line of text: time, level if it is not INFO, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        return f"{_timestamp(record)} {level}{_escape(super().format(record))}"


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
