"""Plants bugs in the real code: an edit replaces a piece of its source.

A function is compiled again and gets the new code, so a mutant has the signature of the real one, and everything
that refers to the function sees the bug. The piece that is replaced must occur exactly once: if the code changes,
its mutants fail with an error instead of silently changing nothing.
"""

import ast
import inspect
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any
from unittest.mock import patch

from tests.simulation.mutants.rules import Rule


class ExecutedOften(BaseException):
    """An edited statement is about to run more often than the limit. No code catches it by accident."""


class Executions(Counter[str]):
    """How often the edited statements of each mutant were about to run in this process."""

    limit: int | None = None

    def __setitem__(self, name: str, count: int) -> None:
        super().__setitem__(name, count)
        if self.limit is not None and count > self.limit:
            raise ExecutedOften(name)


executions = Executions()

_COUNTER_NAME = "__executions_of_planted_bugs__"
"""The global name of `executions` in the modules that have an edited function."""


CONTRACT_TESTS = (
    "tests/store/test_contract_locks.py tests/store/test_contract_sessions.py "
    "tests/store/test_contract_quarantine.py tests/election "
    "-k 'not sqlite and not postgresql and not mariadb and not mysql'"
)
"""The tests that hold for the simulation's store and for the elector on it."""


@dataclass(frozen=True)
class Edit:
    """``old`` becomes ``new`` in the source of a function, or in a text, that ``owner`` has as ``attribute``.

    The attribute ``__file__`` of a module stands for a script that another process runs.
    """

    owner: type | ModuleType
    attribute: str
    old: str
    new: str

    @property
    def value(self) -> Any:
        """The function or text as it is now."""
        value = inspect.getattr_static(self.owner, self.attribute)
        return value if isinstance(value, str | Mapping) else _function(value)

    @property
    def code(self) -> object:
        """What is replaced: the code of the function, or the text."""
        return getattr(self.value, "__code__", self.value)


class Mutant:
    """A bug as a sentence, the rule that it breaks, and what is edited."""

    def __init__(self, sentence: str, rule: Rule, *edits: Edit, unseen: str = "", tests: str = "") -> None:
        self.sentence, self.rule, self.edits = sentence, rule, edits
        self.unseen = unseen
        """Why the simulation cannot find it; empty if it has to."""
        self.tests = tests
        """The tests that stand for the code, as arguments of pytest; empty for those of the elector."""
        self.name = "_".join("".join(c if c.isalnum() else " " for c in sentence.replace("'", "")).split())

    @property
    def is_simulated(self) -> bool:
        """Whether the simulation has to find it."""
        return not self.unseen

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Replace the code."""
        targets: dict[tuple[object, str], list[Edit]] = {}
        for edit in self.edits:
            targets.setdefault((edit.owner, edit.attribute), []).append(edit)
        with ExitStack() as stack:
            for edits in targets.values():
                owner, attribute, value = edits[0].owner, edits[0].attribute, edits[0].value
                if attribute == "__file__":
                    value = stack.enter_context(_edited_file(value, edits))
                    stack.enter_context(patch.object(owner, attribute, value))
                elif isinstance(value, str | Mapping):
                    stack.enter_context(patch.object(owner, attribute, _edited_text(value, edits)))
                else:
                    stack.enter_context(_code(value, self._edited_code(value, edits)))
            yield

    def _edited_code(self, function: FunctionType, edits: list[Edit]) -> CodeType:
        source, offsets = _apply(textwrap.dedent(inspect.getsource(function)), edits, function.__qualname__)
        tree = ast.parse(source)
        definition = tree.body[0]
        assert isinstance(definition, ast.FunctionDef)
        definition.decorator_list.clear()
        for statement in [_statement_at(definition, source, offset) for offset in offsets]:
            _insert_before(definition, statement, ast.parse(f"{_COUNTER_NAME}[{self.name!r}] += 1").body[0])
        ast.fix_missing_locations(tree)
        ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
        function.__globals__[_COUNTER_NAME] = executions
        scope: dict[str, FunctionType] = {}
        exec(compile(tree, function.__code__.co_filename, "exec"), function.__globals__, scope)
        return scope[function.__name__].__code__


@contextmanager
def _code(function: FunctionType, code: CodeType) -> Iterator[None]:
    original, function.__code__ = function.__code__, code
    try:
        yield
    finally:
        function.__code__ = original


def _function(value: object) -> FunctionType:
    if isinstance(value, property):
        value = value.fget
    if isinstance(value, classmethod | staticmethod):
        value = value.__func__
    function = inspect.unwrap(value) if callable(value) else value
    assert isinstance(function, FunctionType)
    return function


@contextmanager
def _edited_file(path: str, edits: list[Edit]) -> Iterator[str]:
    """Write an edited copy of a script that another process runs."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory, Path(path).name)
        copy.write_text(_apply(Path(path).read_text(), edits, path)[0])
        yield str(copy)


def _edited_text(value: str | Mapping[str, str], edits: list[Edit]) -> str | Mapping[str, str]:
    if isinstance(value, str):
        return _apply(value, edits, edits[0].attribute)[0]
    key = next(key for key, text in value.items() if edits[0].old in text)
    return {**value, key: _apply(value[key], edits, key)[0]}


def _apply(source: str, edits: list[Edit], where: str) -> tuple[str, list[int]]:
    """Return the edited source, and where in it each edit begins."""
    for edit in edits:
        if (count := source.count(edit.old)) != 1:
            raise ValueError(f"{where} contains {edit.old!r} {count} times instead of once: adapt the mutant")
    offsets: list[int] = []
    shift = 0
    for edit in sorted(edits, key=lambda each: source.index(each.old)):
        offset = source.index(edit.old) + shift
        offsets.append(offset + len(edit.new) - len(edit.new.lstrip()))
        shift += len(edit.new) - len(edit.old)
    for edit in edits:
        source = source.replace(edit.old, edit.new)
    return source, offsets


def _statement_at(definition: ast.FunctionDef, source: str, offset: int) -> ast.stmt:
    line = source.count("\n", 0, offset) + 1
    position = (line, offset - (source.rfind("\n", 0, offset) + 1))
    enclosing = [
        node
        for node in ast.walk(definition)
        if isinstance(node, ast.stmt)
        and node is not definition
        and (node.lineno, node.col_offset) <= position < (node.end_lineno or 0, node.end_col_offset or 0)
    ]
    return max(enclosing, key=lambda node: (node.lineno, node.col_offset))


def _insert_before(definition: ast.FunctionDef, statement: ast.stmt, new: ast.stmt) -> None:
    for node in ast.walk(definition):
        for _, block in ast.iter_fields(node):
            if isinstance(block, list) and any(each is statement for each in block):
                block.insert([each is statement for each in block].index(True), new)
                return
    raise AssertionError("the statement is in no block")
