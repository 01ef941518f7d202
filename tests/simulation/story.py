"""What happened in a world, kept without being formatted until somebody reads it."""

from collections.abc import Callable

from masterjob.election.values import Term
from tests.simulation.clock import Scheduler


class Violation(AssertionError):
    """An invariant does not hold. ``story`` says what led to it, a sentence a line, with times."""

    story: tuple[str, ...] = ()
    faults: tuple[int, ...] = ()
    """The numbers of the faults that had happened."""


class Story:
    """Sentences with times."""

    def __init__(self, scheduler: Scheduler, listener: Callable[[str], None] | None) -> None:
        self._scheduler = scheduler
        self._listener = listener
        self._events: list[tuple[float, str, tuple[object, ...]]] = []

    def tell(self, sentence: str, *args: object) -> None:
        """Add a sentence in the style of `str.format`. The arguments must not change later."""
        self._events.append((self._scheduler.now, sentence, args))
        if self._listener is not None:
            self._listener(_format(*self._events[-1]))

    def lines(self) -> tuple[str, ...]:
        """Return all sentences."""
        return tuple(_format(*event) for event in self._events)


def _format(time: float, sentence: str, args: tuple[object, ...]) -> str:
    return f"{time:9.3f} s  {sentence.format(*map(readable, args))}"


def readable(value: object) -> object:
    """Return the value as it reads in a sentence."""
    return f"term {value.number % 10**8} of {value.lock_name}" if isinstance(value, Term) else value
