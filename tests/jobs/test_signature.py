"""Which functions can be a job, and what they are called with."""

import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from masterjob.errors import SettingError
from masterjob.jobs.python.job import MasterJob
from masterjob.jobs.python.signature import accepts_term, is_coroutine_function


class WithMethods:
    def plain(self) -> None: ...

    def with_term(self, term: object) -> None: ...

    def __call__(self, term: object) -> None: ...


class AsyncCall:
    async def __call__(self) -> None: ...


async def coroutine(term: object) -> None: ...


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    "function",
    [
        lambda term: None,
        lambda anything, /: None,
        lambda anything, more=1: None,
        lambda term=None: None,
        lambda *everything: None,
        lambda *args, **more: None,
        WithMethods(),
        WithMethods().with_term,
        functools.partial(lambda a, b: None, 1),
        coroutine,
        [].append,
    ],
)
def test_a_function_that_needs_or_names_the_term_gets_it(function: Callable[..., object]) -> None:
    assert accepts_term("start", function)


@pytest.mark.parametrize(
    "function",
    [
        lambda: None,
        lambda **more: None,
        lambda *, only=1: None,
        WithMethods().plain,
        functools.partial(coroutine, "mine"),
        AsyncCall(),
        [].clear,
    ],
)
def test_a_function_without_arguments_gets_none(function: Callable[..., object]) -> None:
    assert not accepts_term("start", function)


@pytest.mark.parametrize("function", [lambda name="bound early": None, threading.Thread().join])
def test_a_default_that_is_not_called_term_is_not_overridden_by_the_term(
    function: Callable[..., object],
) -> None:
    assert not accepts_term("stop", function)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (None, "masterJob.start is not a function, but None"),
        (5, "masterJob.start is not a function, but 5"),
        (lambda a, b: None, "masterJob.start needs a, b: "),
        (lambda *, key: None, "masterJob.start needs key: "),
        (generator, "masterJob.start is a generator function"),
        (async_generator, "masterJob.start is a generator function"),
    ],
)
def test_a_function_that_cannot_be_called_like_this_is_refused(function: object, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        accepts_term("start", function)


@pytest.mark.parametrize(
    "function",
    [
        coroutine,
        AsyncCall(),
        functools.partial(coroutine, 1),
        functools.partial(functools.partial(AsyncCall())),
    ],
)
def test_coroutine_functions_are_recognised(function: object) -> None:
    assert is_coroutine_function(function)


@pytest.mark.parametrize("function", [len, WithMethods(), WithMethods, AsyncCall, functools.partial(len, "")])
def test_other_functions_are_not_taken_for_coroutine_functions(function: object) -> None:
    assert not is_coroutine_function(function)


def test_a_master_job_that_is_not_valid_is_an_error_at_once() -> None:
    with pytest.raises(SettingError, match=r"masterJob\.start is not a function, but None: a job needs"):
        MasterJob(start=None)
    with pytest.raises(SettingError, match=r"masterJob has both start and run: "):
        MasterJob(start=print, run=print)
    with pytest.raises(SettingError, match=r"masterJob\.start is not a function"):
        MasterJob(start="now")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"masterJob\.run needs one, two"):
        MasterJob(run=lambda one, two: None)
    with pytest.raises(SettingError, match=r"masterJob\.stop is not a function"):
        MasterJob(start=print, stop="later")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"masterJob\.stop needs one, two"):
        MasterJob(start=print, stop=lambda one, two: None)


def test_a_master_job_needs_no_stop() -> None:
    assert MasterJob(print).stop is None
