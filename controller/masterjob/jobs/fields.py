"""Reading what people wrote about a job: every error is one sentence that names its place."""

import re
from collections.abc import Callable, Mapping, Sequence

from masterjob.documents import refuse_unknown
from masterjob.election.errors import SettingError
from masterjob.election.timing import duration, in_words

Where = Callable[[Sequence[str]], str]
"""Names file, line and field of a path within the section, for an error."""

TEXT_LIMIT = 32_768
"""Characters of any text: an argument of a command can be 128 KiB on Linux."""


class Field:
    """One value of the section, and where it stands."""

    def __init__(self, value: object, path: tuple[str, ...], where: Where) -> None:
        self.value = value
        self._path = path
        self._where = where

    @property
    def where(self) -> str:
        """The place, as an error names it."""
        return self._where(self._path)

    def wrong(self, why: str) -> SettingError:
        """Return the error that says ``why`` this value cannot be."""
        return SettingError(f"{self.where} {why}")

    def _below(self, name: str, value: object) -> "Field":
        return Field(value, (*self._path, name), self._where)

    def entries(self, limit: int, what: str) -> "dict[str, Field]":
        """Return the entries of a mapping whose names are people's own; of nothing at all, none."""
        if self.value is None:
            return {}
        if not isinstance(self.value, Mapping):
            raise self.wrong(f"must hold names and values: {what}")
        if len(self.value) > limit:
            raise self.wrong(f"has {len(self.value)} entries: {limit} are the most")
        for name in self.value:
            if not isinstance(name, str):
                raise self.wrong(f"has the name {name!r:.64}, which is not text: write it in quotes")
        return {name: self._below(name, value) for name, value in self.value.items()}

    def fields(self, known: Sequence[str], needed: Sequence[str] = ()) -> "dict[str, Field]":
        """Return the entries of a mapping whose names are ours, without those that are null."""
        fields = self.entries(1000, f"known are {', '.join(known)}")
        for name, field in fields.items():
            refuse_unknown(name, known, field.where)
        there = {name: field for name, field in fields.items() if field.value is not None}
        for name in needed:
            if name not in there:
                raise self.wrong(f"has no {name}, which it needs")
        return there

    def items(self, limit: int, example: str) -> "list[Field]":
        """Return the items of a list that is not empty."""
        if not isinstance(self.value, list | tuple) or not self.value:
            raise self.wrong(f"must be a list such as {example}")
        if len(self.value) > limit:
            raise self.wrong(f"has {len(self.value)} items: {limit} are the most")
        return [self._below(str(index), value) for index, value in enumerate(self.value)]

    def text(self, limit: int = TEXT_LIMIT) -> str:
        """Return text that a process can be given; numbers and switches have to be in quotes."""
        if not isinstance(self.value, str):
            raise self.wrong("must be text: write it in quotes")
        if len(self.value) > limit:
            raise self.wrong(f"has {len(self.value)} characters: {limit} are the most")
        if re.search(r"[\x00\ud800-\udfff]", self.value):
            raise self.wrong("has a character that is not text")
        return self.value

    def some_text(self, limit: int = TEXT_LIMIT) -> str:
        """Return text that is not empty."""
        if text := self.text(limit):
            return text
        raise self.wrong("must not be empty")

    def count(self, most: int) -> int:
        """Return a whole number from 0 to ``most``, written as one or as text."""
        value = self.value
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", str(value)) or int(str(value)) > most:
            raise self.wrong(f"must be a whole number from 0 to {most}")
        return int(str(value))

    def duration(self, least: float, most: float) -> float:
        """Return a duration in seconds; a number without a unit is refused, since nobody knows which it means."""
        text = self.value if isinstance(self.value, str) else ""
        try:
            seconds = duration(text) if re.search(r"[a-z]\s*$", text) else -1.0
        except SettingError:
            seconds = -1.0
        if not least <= seconds <= most:
            raise self.wrong(f"must be a duration from {in_words(least)} to {in_words(most)}, such as 5s or 500ms")
        return seconds
