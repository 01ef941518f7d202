"""YAML and JSON files as plain values that know where they were written.

Only text, numbers, booleans, lists and mappings are built. Size, nesting and aliases are bounded, so that no file
can exhaust the memory. Every error is one sentence that begins with file and line.

    document = read_document("config.yaml")
    document.data                                     {"jobs": {"tick": {"exec": …}}}
    document.locate(("jobs", "tick", "exec"))         "config.yaml line 7: jobs.tick.exec"
"""

import difflib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from masterjob.config.redact import redact_name
from masterjob.errors import InvalidValue, SettingError

MAX_FILE_BYTES = 1024 * 1024
MAX_VALUES = 100_000
"""The limit of values in a document after its aliases are expanded."""

FieldPath = Sequence[str | int]
FieldLocator = Callable[[FieldPath], str]
"""Returns the place of a field, with which an error begins."""

_DOCUMENT_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)  # inside a document YAML forbids such a line
_INTEGER_PATTERN = re.compile(r"[-+]?\d{1,400}")
_DECIMAL_PATTERN = re.compile(r"[-+]?\d{1,400}\.\d*(?:[eE][-+]?\d{1,3})?")
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_TAG_PREFIX = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """One document of a file. ``name`` is the file's name in errors; ``line_offset`` lines come before it."""

    name: str
    root: yaml.Node | None
    line_offset: int = 0

    @cached_property
    def data(self) -> object:
        """The plain value; None for an empty document.

        Raises:
            SettingError: a name is not text or is used twice, or there are too many values.
        """
        return None if self.root is None else _PlainValueBuilder(self).build(self.root, ())[0]

    def locate(self, path: FieldPath = ()) -> str:
        """Return file, line and field; a missing field has the line of its parent."""
        node, line = self.root, 1 if self.root is None else self._line_number(self.root)
        for segment in path:
            anchor, node = _find_child(node, segment)
            if anchor is None:
                break
            line = self._line_number(anchor)
        return self._format_location(line, path)

    def field_locator(self, *prefix: str | int) -> FieldLocator:
        """Return a `FieldLocator` for paths below ``prefix``."""
        return lambda path: self.locate((*prefix, *path))

    def locate_node(self, node: yaml.Node, path: FieldPath) -> str:
        """Return file, line and field of a node."""
        return self._format_location(self._line_number(node), path)

    def _format_location(self, line: int, path: FieldPath) -> str:
        return f"{self.name} line {line}" + (f": {format_field_path(path)}" if path else "")

    def _line_number(self, node: yaml.Node) -> int:
        return int(node.start_mark.line) + 1 + self.line_offset


def _find_child(node: yaml.Node | None, segment: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    """Return the node on the child's line (its key, if it has one) and the child, or None for both."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == segment:
                return key, value
    if isinstance(node, yaml.SequenceNode) and str(segment).isdecimal() and int(segment) < len(node.value):
        return node.value[int(segment)], node.value[int(segment)]
    return None, None


def format_field_path(path: FieldPath) -> str:
    """Return a field's path as people write it: ``spec.items[2]``."""
    text = "".join(
        f"[{segment}]" if str(segment).isdecimal() else f".{redact_name(str(segment))}" for segment in path
    )
    return text.removeprefix(".")


# --- reading


def read_document(path: str | Path, name: str | None = None) -> Document:
    """Return the only document of a file.

    Raises:
        SettingError: the file cannot be read, is too large, is neither YAML nor JSON, or holds several documents.
    """
    name = str(path) if name is None else name
    return _compose(_read_text(path, name), name, 0)


def read_documents(path: str | Path, name: str | None = None) -> Iterator[Document | SettingError]:
    """Return the documents of a file; in place of an invalid one, its error."""
    name = str(path) if name is None else name
    try:
        text = _read_text(path, name)
    except SettingError as error:
        yield error
        return
    starts = [0, *(separator.start() for separator in _DOCUMENT_SEPARATOR.finditer(text)), len(text)]
    for start, end in itertools.pairwise(starts):
        document_text = text[start:end]
        lines = document_text.removeprefix("---").splitlines()
        if any(line.strip() and not line.lstrip().startswith(("#", "%")) for line in lines):
            try:
                document = _compose(document_text, name, text.count("\n", 0, start))
            except SettingError as error:
                yield error
            else:
                yield document


def _read_text(path: str | Path, name: str) -> str:
    raw = _read_bytes(path, name)
    try:
        text = raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        raise SettingError(f"{name} is neither YAML nor JSON: it has invalid characters") from None
    # JSON may be indented with tabs, which YAML does not allow
    return text.replace("\t", " ") if text.lstrip().startswith("{") else text


def _read_bytes(path: str | Path, name: str) -> bytes:
    try:
        with Path(os.fspath(path)).open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except (OSError, TypeError, ValueError) as error:
        detail = error.strerror if isinstance(error, OSError) else error
        raise SettingError(f"{name} cannot be read: {detail}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise SettingError(f"{name} is larger than 1 MiB")
    return raw


def _compose(text: str, name: str, line_offset: int) -> Document:
    """Parse the text into nodes, without building values or expanding aliases."""
    try:
        return Document(name, yaml.compose(text, Loader=yaml.SafeLoader), line_offset)
    except yaml.MarkedYAMLError as error:  # its own text quotes the file, which may hold a password
        line = f" line {error.problem_mark.line + 1 + line_offset}" if error.problem_mark else ""
        raise SettingError(f"{name}{line} is neither YAML nor JSON: {error.problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError):  # such as an escape beyond the last character
        raise SettingError(f"{name} is neither YAML nor JSON: it has invalid characters") from None
    except RecursionError:
        raise SettingError(f"{name} is nested too deeply") from None


# --- plain values


class _PlainValueBuilder:
    """Builds each node's value once, and counts it once for every alias."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._built: dict[int, tuple[object, int]] = {}

    def build(self, node: yaml.Node, path: FieldPath) -> tuple[object, int]:
        """Return the value and the number of values in it."""
        if isinstance(node, yaml.ScalarNode):
            return _scalar_value(node), 1
        if id(node) not in self._built:
            self._built[id(node)] = None, MAX_VALUES + 1  # a node inside itself would never end
            built = (
                self._build_list(node, path)
                if isinstance(node, yaml.SequenceNode)
                else self._build_mapping(node, path)
            )
            self._built[id(node)] = built
        value, size = self._built[id(node)]
        if size > MAX_VALUES:
            raise SettingError(
                f"{self._document.locate_node(node, path)} has too many values after its aliases are expanded"
            )
        return value, size

    def _build_list(self, node: yaml.SequenceNode, path: FieldPath) -> tuple[object, int]:
        parts = [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return [value for value, _ in parts], 1 + sum(size for _, size in parts)

    def _build_mapping(self, node: yaml.Node, path: FieldPath) -> tuple[object, int]:
        values: dict[str, object] = {}
        total_size = 1
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise SettingError(f"{self._document.locate_node(key, path)} has a name that is not text")
            if key.value in values:
                raise SettingError(f"{self._document.locate_node(key, path)} has {redact_name(key.value)} twice")
            values[key.value], size = self.build(value, (*path, key.value))
            total_size += size
        return values, total_size


def _scalar_value(node: yaml.ScalarNode) -> object:
    text: str = node.value
    match node.tag.removeprefix(_TAG_PREFIX):
        case "null":
            return None
        case "bool":
            return _BOOLEANS.get(text.lower(), text)
        case "int" if _INTEGER_PATTERN.fullmatch(text):
            return int(text)
        case "float" if _DECIMAL_PATTERN.fullmatch(text):
            return float(text)
    return text  # also dates, 1:30 and the like, which YAML would convert to something unexpected


def describe_unknown_names(document: Document, known: Iterable[str]) -> list[str]:
    """Return an error message for each top-level name that is not one of ``known``."""
    messages, data = [], document.data
    for name in data if isinstance(data, dict) else ():
        try:
            raise_if_unknown(str(name), known, document.locate((str(name),)))
        except SettingError as error:
            messages.append(str(error))
    return messages


def raise_if_unknown(
    name: str, known: Iterable[str], location: str, error_type: type[InvalidValue] = SettingError
) -> None:
    """Raise if ``name`` is not one of ``known``. The message suggests the nearest of them."""
    known = list(known)
    if name not in known:
        nearest = difflib.get_close_matches(name[:64], known, 1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"use one of {', '.join(known)}"
        raise error_type(f"{location} is not known: {hint}")
