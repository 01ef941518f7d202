"""What can be told about a function of the user's without calling it."""

import functools
import inspect
from inspect import Parameter

from masterjob.errors import SettingError

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def accepts_term(function_name: str, function: object) -> bool:
    """Tell whether ``function``, the job's ``start`` or ``stop``, is to be called with the term.

    It is where the function needs one argument, takes any number of them, or calls its first one ``term``. A
    first parameter with a default and another name is left alone: ``lambda name=name: ...`` and
    ``Thread.join(timeout=None)`` mean something else by it.

    Raises:
        SettingError: it is no function, or it can be called neither with one positional argument nor with
            none.
    """
    if not callable(function):
        raise SettingError(f"masterJob.{function_name} is not a function, but {function!r:.80}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise SettingError(f"masterJob.{function_name} is a generator function: calling it would run nothing")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # some that are written in C do not say
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
    """Tell whether calling ``function`` gives a coroutine; so may a partial, or an object."""
    while isinstance(function, functools.partial):
        function = function.func
    method = getattr(type(function), "__call__", None)  # noqa: B004  # not whether there is one, but which kind
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method)
