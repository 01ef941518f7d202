"""The log on standard error: a line of text for people, or a line of JSON for programs."""

import json
import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

_SHOWN = {"\n": "\n  ", "\t": "\t"}
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


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

    look: Annotated[LogFormat, typer.Option("--log-format", help="How a line of the log looks.")] = LogFormat.TEXT
    level: Annotated[LogLevel, typer.Option("--log-level", help="From which level on lines are written.")] = (
        LogLevel.INFO
    )

    def set_up(self) -> None:
        """Have everything that is logged written; of other packages warnings only."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines() if self.look is LogFormat.JSON else TextLines())
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
        logging.getLogger("masterjob").setLevel(self.level.upper())


class TextLines(logging.Formatter):
    """Time, level where it is no everyday line, and the sentence."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        return f"{_time(record)} {level}{_harmless(super().format(record))}"


def _harmless(text: str) -> str:
    """Return it without what could make a line of its own, or colour a terminal: a reason may hold anything.

    Lines of a traceback are indented, so that none of them looks like one of ours.
    """
    return "".join(each if each.isprintable() else _SHOWN.get(each) or repr(each)[1:-1] for each in text)


class JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, and whatever else was given along."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        said = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _USUAL},
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False, default=str)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
