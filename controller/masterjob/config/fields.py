"""Reading what people wrote about a job: every error is one sentence that names its place."""

import re
from collections.abc import Callable, Mapping, Sequence

from masterjob.config.documents import raise_if_unknown
from masterjob.election.timing import format_duration, parse_duration
from masterjob.errors import SettingError

SectionLocator = Callable[[Sequence[str]], str]
"""Names file, line and field of a path within the section, for an error."""

TEXT_LIMIT = 32_768
"""Characters of any text: an argument of a command can be 128 KiB on Linux."""


class Field:
    """One value of the section, and where it stands."""

    def __init__(self, value: object, path: tuple[str, ...], locate: SectionLocator) -> None:
        self.value = value
        self._path = path
        self._locate = locate

    @property
    def location(self) -> str:
        """The place, as an error names it."""
        return self._locate(self._path)

    def error(self, problem: str) -> SettingError:
        """Return the error that says the ``problem`` of this value."""
        return SettingError(f"{self.location} {problem}")

    def _child(self, name: str, value: object) -> "Field":
        return Field(value, (*self._path, name), self._locate)

    def entries(self, limit: int, expected: str) -> "dict[str, Field]":
        """Return the entries of a mapping whose names are people's own; of nothing at all, none."""
        if self.value is None:
            return {}
        if not isinstance(self.value, Mapping):
            raise self.error(f"must hold names and values: {expected}")
        if len(self.value) > limit:
            raise self.error(f"has {len(self.value)} entries: {limit} are the most")
        for name in self.value:
            if not isinstance(name, str):
                raise self.error(f"has the name {name!r:.64}, which is not text: write it in quotes")
        return {name: self._child(name, value) for name, value in self.value.items()}

    def fields(self, known: Sequence[str], required: Sequence[str] = ()) -> "dict[str, Field]":
        """Return the entries of a mapping whose names are ours, without those that are null."""
        fields = self.entries(1000, f"known are {', '.join(known)}")
        for name, field in fields.items():
            raise_if_unknown(name, known, field.location)
        present = {name: field for name, field in fields.items() if field.value is not None}
        for name in required:
            if name not in present:
                raise self.error(f"has no {name}, which it needs")
        return present

    def items(self, limit: int, example: str) -> "list[Field]":
        """Return the items of a list that is not empty."""
        if not isinstance(self.value, list | tuple) or not self.value:
            raise self.error(f"must be a list such as {example}")
        if len(self.value) > limit:
            raise self.error(f"has {len(self.value)} items: {limit} are the most")
        return [self._child(str(index), value) for index, value in enumerate(self.value)]

    def text(self, limit: int = TEXT_LIMIT) -> str:
        """Return text that a process can be given; numbers and switches have to be in quotes."""
        if not isinstance(self.value, str):
            raise self.error("must be text: write it in quotes")
        if len(self.value) > limit:
            raise self.error(f"has {len(self.value)} characters: {limit} are the most")
        if re.search(r"[\x00\ud800-\udfff]", self.value):
            raise self.error("has a character that is not text")
        return self.value

    def nonempty_text(self, limit: int = TEXT_LIMIT) -> str:
        """Return text that is not empty."""
        if text := self.text(limit):
            return text
        raise self.error("must not be empty")

    def count(self, maximum: int) -> int:
        """Return a whole number from 0 to ``maximum``, written as one or as text."""
        value = self.value
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", str(value)) or int(str(value)) > maximum:
            raise self.error(f"must be a whole number from 0 to {maximum}")
        return int(str(value))

    def duration(self, minimum: float, maximum: float) -> float:
        """Return a duration in seconds; a number without a unit is refused, since nobody knows which it means."""
        text = self.value if isinstance(self.value, str) else ""
        try:
            seconds = parse_duration(text) if re.search(r"[a-z]\s*$", text) else -1.0
        except SettingError:
            seconds = -1.0
        if not minimum <= seconds <= maximum:
            raise self.error(
                f"must be a duration from {format_duration(minimum)} to {format_duration(maximum)}, "
                "such as 5s or 500ms"
            )
        return seconds
