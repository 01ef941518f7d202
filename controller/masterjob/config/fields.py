"""The one reader of everything that people write: config files, manifests, options, tokens and requests.

A parser turns a field into a value, or raises an error: one sentence that begins with the field's place, such as
``config.yaml line 7: jobs.tick.http.retries must be …``. A specification reads like a table:

    field.check_names(["start", "timeout", "retries"])
    start = field["start"].required(text(2048, NOT_BLANK))
    timeout = field["timeout"].optional(duration(0.01, 300), 5.0)
    retries = field["retries"].optional(whole_number(0, 10), 3)
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, TypeVar

from masterjob.config.documents import MAX_VALUES, format_field_path, raise_if_unknown
from masterjob.config.redact import redact_url
from masterjob.election.timing import format_duration, parse_duration
from masterjob.election.values import MAX_LOCK_NAME_LENGTH, validate_lock_name
from masterjob.errors import InvalidValue, SettingError

SectionLocator = Callable[[Sequence[str]], str]
"""Returns the place of a path; names and list indices are text."""

MAX_TEXT_LENGTH = 32_768  # characters; one argument of a command has at most 128 KiB on Linux

MAX_DURATION = 3650 * 86_400.0  # ten years, in seconds

_DURATION = re.compile(r"\s*([0-9]+(\.[0-9]+)?(ms|s|m|h))+\s*")
_TYPE_NAMES = (
    *((bool, "a boolean"), ((int, float), "a number"), ((list, tuple), "a list"), (Mapping, "a mapping")),
    (type(None), "null"),
)

T = TypeVar("T")
D = TypeVar("D")
S = TypeVar("S", bound=str)


@dataclass(frozen=True, slots=True)
class Field:
    """A value and its place; the value is None if the field is missing or null."""

    value: object
    path: tuple[str, ...] = ()
    locate: SectionLocator = format_field_path
    error_type: type[InvalidValue] = SettingError

    @property
    def location(self) -> str:
        """The place, as errors name it."""
        return self.locate(self.path)

    def error(self, problem: str) -> InvalidValue:
        """Return an error whose sentence is the place and the problem."""
        return self.error_type(f"{self.location} {problem}")

    def required(self, parse: "Callable[[Field], T]") -> T:
        """Return the parsed value; raise if there is none."""
        if self.value is None:
            raise self.error("is missing")
        return parse(self)

    def optional(self, parse: "Callable[[Field], T]", default: D) -> T | D:
        """Return the parsed value, or the default if there is none."""
        return default if self.value is None else parse(self)

    def __getitem__(self, name: str) -> "Field":
        return self._child(name, self._mapping().get(name))

    def check_names(self, known: Iterable[str]) -> None:
        """Raise if the mapping has a name that is not one of ``known``."""
        names = list(known)
        for name, child in self.entries(expected=f"use one of {', '.join(names)}").items():
            raise_if_unknown(name, names, child.location, self.error_type)

    def fields(self, known: Iterable[str]) -> "dict[str, Field]":
        """Return the fields that have a value; raise as `check_names` does."""
        self.check_names(known)
        return {name: child for name, child in self.entries().items() if child.value is not None}

    def entries(self, limit: int = MAX_VALUES, expected: str = "") -> "dict[str, Field]":
        """Return all fields of a mapping; ``expected`` describes the names that a user chooses."""
        mapping = self._mapping(expected)
        if len(mapping) > limit:
            raise self.error(f"has {len(mapping)} entries; at most {limit} are allowed")
        return {str(name): self._child(str(name), value) for name, value in mapping.items()}

    def items(self, limit: int, example: str) -> "list[Field]":
        """Return the items of a list."""
        if not isinstance(self.value, list | tuple):
            raise self.error(f"must be a list such as {example}")
        if len(self.value) > limit:
            raise self.error(f"has {len(self.value)} items; at most {limit} are allowed")
        return [self._child(str(index), value) for index, value in enumerate(self.value)]

    def _mapping(self, expected: str = "") -> Mapping[str, object]:
        if self.value is None:
            return {}
        if not isinstance(self.value, Mapping):
            raise self.error("must hold names and values" + (expected and f": {expected}"))
        return self.value

    def _child(self, name: str, value: object) -> "Field":
        return replace(self, value=value, path=(*self.path, name))


# --- parsers: text


class TextRule(NamedTuple):
    """A pattern that the whole text must match, and the problem if it does not."""

    pattern: str
    problem: str


NOT_EMPTY = TextRule(r"(?s).+", "must not be empty")
NOT_BLANK = TextRule(r"(?s)\s*\S.*", "must not be empty")
ENCODABLE = TextRule(r"[^\x00\ud800-\udfff]*", "has a character that is not text")


def text(max_length: int = MAX_TEXT_LENGTH, *rules: TextRule) -> Callable[[Field], str]:
    """Return a parser of text. Its errors do not repeat the text, which may be a secret."""

    def parse(field: Field) -> str:
        value = field.value
        if not isinstance(value, str):
            hint = ": put it in quotes" if isinstance(value, int | float) else ""
            raise field.error(f"must be text, not {_type_name(value)}{hint}")
        if len(value) > max_length:
            raise field.error(f"has {len(value)} characters; at most {max_length} are allowed")
        for rule in rules:
            if not re.fullmatch(rule.pattern, value):
                raise field.error(rule.problem)
        return value

    return parse


def lock_name(field: Field) -> str:
    """Return the valid name of a lock."""
    name = text(MAX_LOCK_NAME_LENGTH)(field)
    try:
        return validate_lock_name(name)
    except InvalidValue:
        problem = "must not be empty, begin or end with whitespace, or contain control characters"
        raise field.error(problem) from None


def timestamp(field: Field) -> datetime:
    """Return a time with its time zone."""
    try:
        time = datetime.fromisoformat(str(field.value))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise field.error("must be a time in RFC 3339, such as 2030-01-31T12:00:00Z")
    return time


# --- parsers: other values, which errors repeat


def one_of(options: Iterable[S], *, ignore_case: bool = False) -> Callable[[Field], S]:
    """Return a parser of one of these words."""
    by_name = {str(option): option for option in options}
    *others, last = by_name
    choices = f"{', '.join(others)} or {last}" if others else last

    def parse(field: Field) -> S:
        name = str(field.value).lower() if ignore_case else str(field.value)
        if name not in by_name:
            raise field.error(f"must be {choices}, not {format_value(field.value)}")
        return by_name[name]

    return parse


def boolean(field: Field) -> bool:
    """Return true or false."""
    if not isinstance(field.value, bool):
        raise field.error(f"must be true or false, not {format_value(field.value)}")
    return field.value


def whole_number(
    minimum: float = -float("inf"), maximum: float = float("inf"), *, as_text: bool = True
) -> Callable[[Field], int]:
    """Return a parser of a whole number within these bounds; ``as_text`` allows it in quotes too."""
    bounds = f" from {minimum} to {maximum}" if maximum < float("inf") else ""

    def parse(field: Field) -> int:
        value = field.value
        if as_text and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise field.error(f"must be a whole number{bounds}, not {format_value(field.value)}")
        return value

    return parse


def stripped(parse: Callable[[Field], T]) -> Callable[[Field], T]:
    """Return a parser that ignores white space around a text."""

    def parse_stripped(field: Field) -> T:
        return parse(replace(field, value=field.value.strip()) if isinstance(field.value, str) else field)

    return parse_stripped


def duration(
    minimum: float = 0.0, maximum: float = MAX_DURATION, *, milliseconds: bool = False
) -> Callable[[Field], float]:
    """Return a parser of a duration in seconds. A number without a unit is milliseconds, or refused."""
    lowest = format_duration(minimum) if minimum else "0s"
    highest = "ten years" if maximum == MAX_DURATION else format_duration(maximum)
    bounds = f"from {lowest} to {highest}, written like 500ms, 30s or 1m30s"

    def parse(field: Field) -> float:
        value = field.value
        has_unit = isinstance(value, str) and _DURATION.fullmatch(value)
        try:
            seconds = parse_duration(value) if has_unit or milliseconds else -1.0
        except (InvalidValue, OverflowError):
            seconds = -1.0
        if not minimum <= seconds <= maximum:
            raise field.error(f"must be {bounds}, not {format_value(value)}")
        return seconds

    return parse


def format_value(value: object) -> str:
    """Return a value as errors may repeat it."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)[:64]
        case str():
            return repr(redact_url(value)[:64])
    return _type_name(value)


def _type_name(value: object) -> str:
    return next((name for types, name in _TYPE_NAMES if isinstance(value, types)), type(value).__name__)
