"""Copies of a process: its elector as bytes, together with the continuations of the commands in flight.

The elector continues a command with a function that was made where it was sent. The bytes contain such a function
as the place of its code, and the values that it has captured: the copy has functions that act on the copy.
"""

import io
import pickle
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from types import CellType, FunctionType
from typing import Any

from masterjob.election.timing import Timing
from masterjob.election.values import Identity
from tests.exploration.chance import Middle

_SHARED_TYPES = (Timing, Identity, Middle)
"""Their objects never change, so that all copies share them."""

_shared: list[object] = []
_shared_index: dict[int, int] = {}
_functions: list[FunctionType] = []
_code_index: dict[int, int] = {}

_reducers: dict[type, Callable[[object], object] | None] = {}


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        kind = type(value)
        if kind not in _reducers:
            _reducers[kind] = _reducer_for(kind)
        reducer = _reducers[kind]
        return NotImplemented if reducer is None else reducer(value)


def freeze(value: object) -> bytes:
    """Return a copy of everything that can be reached from the value."""
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def thaw(copy: bytes) -> object:
    """Return a new object from the copy."""
    return pickle.loads(copy)


def _reducer_for(kind: type) -> Callable[[object], object] | None:
    if kind is FunctionType:
        return _reduce_function
    if issubclass(kind, _SHARED_TYPES) or issubclass(kind, Enum):
        return _reduce_shared
    if is_dataclass(kind) and hasattr(kind, "__slots__"):
        names = tuple(field.name for field in fields(kind))
        return lambda value: (kind, tuple([getattr(value, name) for name in names]))
    return None


def _reduce_shared(value: object) -> tuple[object, ...]:
    index = _shared_index.get(id(value))
    if index is None:
        index = _shared_index[id(value)] = len(_shared)
        _shared.append(value)
    return _shared_object, (index,)


def _shared_object(index: int) -> object:
    return _shared[index]


def register_function(function: FunctionType) -> int:
    """Return a number for the code of the function."""
    index = _code_index.get(id(function.__code__))
    if index is None:
        index = _code_index[id(function.__code__)] = len(_functions)
        _functions.append(function)  # keeps the code alive, so that its id is not used again
    return index


def _reduce_function(value: object) -> object:
    assert isinstance(value, FunctionType)
    if "<locals>" not in value.__qualname__:
        return NotImplemented  # a function of a module is found by its name
    captured = tuple([cell.cell_contents for cell in value.__closure__ or ()])
    return _make_function, (register_function(value), captured, value.__defaults__)


def _make_function(index: int, captured: tuple[object, ...], defaults: tuple[object, ...] | None) -> FunctionType:
    original = _functions[index]
    cells = tuple([CellType(value) for value in captured])
    return FunctionType(original.__code__, original.__globals__, original.__name__, defaults, cells)
