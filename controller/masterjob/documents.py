"""YAML and JSON files as plain values that know where they were written.

Nothing is constructed but text, numbers, truth values, lists and mappings, and nothing that a file says can blow
up: its size, its depth and what its aliases would unfold to are bounded. Every error is one sentence that begins
with file and line.

    document = read_one("config.yaml")
    document.data()                                   {"jobs": {"tick": {"exec": …}}}
    document.where(("jobs", "tick", "exec"))          "config.yaml line 7: jobs.tick.exec"

What must not be here: what the values mean.
"""

import difflib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from masterjob.election.errors import SettingError
from masterjob.masking import echo

FILE_LIMIT = 1024 * 1024
VALUES_LIMIT = 100_000
"""How many values a document may have when its aliases are written out."""

FieldPath = Sequence[str | int]
Where = Callable[[FieldPath], str]
"""Says where a field was written, for the beginning of an error's sentence."""

_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)  # YAML allows it at a line's start nowhere but in between
_INTEGER = re.compile(r"[-+]?\d{1,400}")
_DECIMAL = re.compile(r"[-+]?\d{1,400}\.\d*(?:[eE][-+]?\d{1,3})?")
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file. ``name`` is how errors call the file; ``skipped`` lines stand before it there."""

    name: str
    root: yaml.Node | None
    skipped: int = 0

    def data(self) -> object:
        """Return the plain value; None for an empty document.

        Raises:
            SettingError: a name is no text or stands twice, or aliases make it too large.
        """
        return None if self.root is None else _Plain(self).value_of(self.root, ())[0]

    def where(self, path: FieldPath = ()) -> str:
        """Return file, line and field; for a field that is missing, the line of what it is missing in."""
        node, line = self.root, 1 if self.root is None else self._line(self.root)
        for step in path:
            mark, node = _child(node, step)
            if mark is None:
                break
            line = self._line(mark)
        return self._at(line, path)

    def below(self, *prefix: str | int) -> Where:
        """Return a `where` for those who are only given what stands below ``prefix``."""
        return lambda path: self.where((*prefix, *path))

    def at(self, node: yaml.Node, path: FieldPath) -> str:
        """Return file, line and field for a node that is at hand."""
        return self._at(self._line(node), path)

    def _at(self, line: int, path: FieldPath) -> str:
        return f"{self.name} line {line}" + (f": {dotted(path)}" if path else "")

    def _line(self, node: yaml.Node) -> int:
        return int(node.start_mark.line) + 1 + self.skipped


def _child(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    """Return the node that marks a child's line (its key, if it has one), and the child; None without a child."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == step:
                return key, value
    if isinstance(node, yaml.SequenceNode) and str(step).isdecimal() and int(step) < len(node.value):
        return node.value[int(step)], node.value[int(step)]
    return None, None


def dotted(path: FieldPath) -> str:
    """Return a field's path as people write it: ``spec.items[2]``."""
    text = "".join(f"[{step}]" if str(step).isdecimal() else f".{echo(str(step))}" for step in path)
    return text.removeprefix(".")


# --- reading


def read_one(path: str | Path, name: str | None = None) -> Document:
    """Return the only document of a file.

    Raises:
        SettingError: the file cannot be read, is too large, is neither YAML nor JSON, or holds several documents.
    """
    name = str(path) if name is None else name
    return _composed(_text(path, name), name, 0)


def read_all(path: str | Path, name: str | None = None) -> Iterator[Document | SettingError]:
    """Return the documents of a file; one that is bad is its error, and the others are there all the same."""
    name = str(path) if name is None else name
    try:
        text = _text(path, name)
    except SettingError as error:
        yield error
        return
    starts = [0, *(mark.start() for mark in _SEPARATOR.finditer(text)), len(text)]
    for start, end in itertools.pairwise(starts):
        piece = text[start:end]
        if any(_says_something(line) for line in piece.removeprefix("---").splitlines()):
            try:
                document = _composed(piece, name, text.count("\n", 0, start))
            except SettingError as error:
                yield error
            else:
                yield document


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(("#", "%"))


def _text(path: str | Path, name: str) -> str:
    raw = _read(path, name)
    try:
        text = raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        raise SettingError(f"{name} is neither YAML nor JSON: it has characters that are none") from None
    # JSON may be indented with tabs, which YAML does not allow
    return text.replace("\t", " ") if text.lstrip().startswith("{") else text


def _read(path: str | Path, name: str) -> bytes:
    try:
        with Path(os.fspath(path)).open("rb") as file:
            raw = file.read(FILE_LIMIT + 1)
    except (OSError, TypeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SettingError(f"{name} cannot be read: {why}") from None
    if len(raw) > FILE_LIMIT:
        raise SettingError(f"{name} is larger than 1 MiB")
    return raw


def _composed(text: str, name: str, skipped: int) -> Document:
    """Return the text as nodes: nothing is constructed and no alias is expanded."""
    try:
        return Document(name, yaml.compose(text, Loader=yaml.SafeLoader), skipped)
    except yaml.MarkedYAMLError as error:  # its own text quotes the file, which may hold a password
        line = f" line {error.problem_mark.line + 1 + skipped}" if error.problem_mark else ""
        raise SettingError(f"{name}{line} is neither YAML nor JSON: {error.problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError):  # as for an escape beyond the last character
        raise SettingError(f"{name} is neither YAML nor JSON: it has characters that are none") from None
    except RecursionError:
        raise SettingError(f"{name} is nested too deeply") from None


# --- plain values


class _Plain:
    """Turns nodes into values. Each node once, however many aliases there are; it counts what they stand for."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._done: dict[int, tuple[object, int]] = {}

    def value_of(self, node: yaml.Node, path: FieldPath) -> tuple[object, int]:
        """Return the value, and how many values it holds."""
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node), 1
        if id(node) not in self._done:
            self._done[id(node)] = None, VALUES_LIMIT + 1  # found again below itself, it has no end
            found = self._list(node, path) if isinstance(node, yaml.SequenceNode) else self._mapping(node, path)
            self._done[id(node)] = found
        value, size = self._done[id(node)]
        if size > VALUES_LIMIT:
            raise SettingError(
                f"{self._document.at(node, path)} has too many values, with its aliases written out"
            )
        return value, size

    def _list(self, node: yaml.SequenceNode, path: FieldPath) -> tuple[object, int]:
        parts = [self.value_of(each, (*path, number)) for number, each in enumerate(node.value)]
        return [value for value, _ in parts], 1 + sum(size for _, size in parts)

    def _mapping(self, node: yaml.Node, path: FieldPath) -> tuple[object, int]:
        values: dict[str, object] = {}
        total = 1
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise SettingError(f"{self._document.at(key, path)} has a name that is not text")
            if key.value in values:
                raise SettingError(f"{self._document.at(key, path)} has {echo(key.value)} twice")
            values[key.value], size = self.value_of(value, (*path, key.value))
            total += size
        return values, total


def _scalar(node: yaml.ScalarNode) -> object:
    text: str = node.value
    match node.tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return _TRUTH.get(text.lower(), text)
        case "int" if _INTEGER.fullmatch(text):
            return int(text)
        case "float" if _DECIMAL.fullmatch(text):
            return float(text)
    return text  # as are dates, 1:30 and whatever else YAML would make something of that nobody expects


def unknown_names(document: "Document", known: Iterable[str]) -> list[str]:
    """Return a sentence for each name at the top of a file that is not one of ``known``."""
    sentences, data = [], document.data()
    for name in data if isinstance(data, dict) else ():
        try:
            refuse_unknown(str(name), known, document.where((str(name),)))
        except SettingError as error:
            sentences.append(str(error))
    return sentences


def refuse_unknown(name: str, known: Iterable[str], where: str) -> None:
    """Raise `SettingError` where ``name`` is not one of ``known``, with the nearest of them."""
    known = list(known)
    if name not in known:
        nearest = difflib.get_close_matches(name[:64], known, 1)
        hint = f"is {nearest[0]} meant?" if nearest else f"known are {', '.join(known)}"
        raise SettingError(f"{where} is not known: {hint}")
