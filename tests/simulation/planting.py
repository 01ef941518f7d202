"""Plants bugs in the real code. A mutant is a sentence, the rule that it breaks, and edits of methods.

An edit replaces a piece of a method's source; the method is compiled again and takes the place of the old one. So
a mutant has the signature of the real code. The piece that it replaces must occur exactly once: if the code
changes, its mutants fail with an error instead of silently changing nothing.
"""

import ast
import inspect
import textwrap
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FunctionType
from unittest.mock import patch


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
"""The global name of `executions` in the modules that have an edited method."""


@dataclass(frozen=True)
class Edit:
    """``old`` becomes ``new`` in the source of a method or property of ``owner``."""

    owner: type
    method: str
    old: str
    new: str


class Mutant:
    """A bug as a sentence, the section of docs/design.md whose rule it breaks, and what is edited."""

    def __init__(self, sentence: str, rule: str, *edits: Edit, is_simulated: bool = True) -> None:
        self.sentence, self.rule, self.edits = sentence, rule, edits
        self.is_simulated = is_simulated
        """Whether the edited code is a part of the simulated world; threads and watchdogs are not."""
        self.name = "_".join("".join(c if c.isalnum() else " " for c in sentence.replace("'", "")).split())

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Replace the code."""
        methods: dict[tuple[type, str], list[Edit]] = {}
        for edit in self.edits:
            methods.setdefault((edit.owner, edit.method), []).append(edit)
        with ExitStack() as stack:
            for (owner, method), edits in methods.items():
                stack.enter_context(patch.object(owner, method, self._replacement(owner, method, edits)))
            yield

    def _replacement(self, owner: type, method: str, edits: list[Edit]) -> object:
        attribute = inspect.getattr_static(owner, method)
        if isinstance(attribute, property):
            assert isinstance(attribute.fget, FunctionType)
            return property(self._edited(attribute.fget, edits))
        assert isinstance(attribute, FunctionType)
        return self._edited(attribute, edits)

    def _edited(self, function: FunctionType, edits: list[Edit]) -> FunctionType:
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
        return scope[function.__name__]


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
