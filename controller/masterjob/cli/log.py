"""The log on standard error: a line of text for people, or a line of JSON for programs."""

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
    """How a line of the log looks."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """From which level on lines are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What is logged, and how."""

    log_format: Annotated[LogFormat, typer.Option("--log-format", help="How a line of the log looks.")] = (
        LogFormat.TEXT
    )
    log_level: Annotated[LogLevel, typer.Option("--log-level", help="From which level on lines are written.")] = (
        LogLevel.INFO
    )

    def configure(self) -> None:
        """Have everything that is logged written; of other packages warnings only."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter() if self.log_format is LogFormat.JSON else TextFormatter())
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
        logging.getLogger("masterjob").setLevel(self.log_level.upper())


class TextFormatter(logging.Formatter):
    """Time, level where it is no everyday line, and the sentence."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        return f"{_timestamp(record)} {level}{_escape(super().format(record))}"


def _escape(text: str) -> str:
    """Return it without what could make a line of its own, or colour a terminal: a reason may hold anything.

    Lines of a traceback are indented, so that none of them looks like one of ours.
    """
    return "".join(each if each.isprintable() else _ESCAPES.get(each) or repr(each)[1:-1] for each in text)


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, and whatever else was given along."""

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
