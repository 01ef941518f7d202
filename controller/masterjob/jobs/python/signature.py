"""What a user's function accepts, found out without a call."""

import functools
import inspect
from inspect import Parameter

from masterjob.errors import SettingError

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def accepts_term(function_name: str, function: object) -> bool:
    """Return whether ``function``, the job's ``start``, ``stop`` or ``run``, must be called with the term.

    That is so if it requires one argument, takes any number of them, or names its first one ``term``. A first
    parameter with a default and another name does not get the term: in ``lambda name=name: ...`` and
    ``Thread.join(timeout=None)`` it has another meaning.

    Raises:
        SettingError: ``function`` is not a function, or requires other arguments.
    """
    if not callable(function):
        raise SettingError(f"masterJob.{function_name} is not a function, but {function!r:.80}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise SettingError(f"masterJob.{function_name} is a generator function: calling it would run nothing")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # some functions written in C have no signature
        return False
    required = [each for each in parameters if each.default is each.empty and each.kind not in _VARIADIC]
    if len(required) > 1 or any(each.kind is each.KEYWORD_ONLY for each in required):
        names = ", ".join(each.name for each in required)
        raise SettingError(
            f"masterJob.{function_name} needs {names}: it gets one positional argument, the term, or none"
        )
    return bool(required) or _first_parameter_takes_term(parameters)


def _first_parameter_takes_term(parameters: list[Parameter]) -> bool:
    first = parameters[0] if parameters else None
    if first is None or first.kind not in _POSITIONAL:
        return first is not None and first.kind is Parameter.VAR_POSITIONAL
    return first.name == "term"


def is_coroutine_function(function: object) -> bool:
    """Return whether a call of ``function`` returns a coroutine; it may also be a partial or a callable object."""
    while isinstance(function, functools.partial):
        function = function.func
    method = getattr(type(function), "__call__", None)  # noqa: B004  # this asks for its kind, not whether it exists
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method)
