"""What happened in a world, kept without being formatted until somebody reads it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from masterjob.election.core.commands import Claim, Evict, Move, OpenSession, Release, Renew, StoreCommand
from masterjob.election.timing import Timing, format_duration
from masterjob.election.values import Term
from tests.simulation.clock import Scheduler

if TYPE_CHECKING:
    from tests.simulation.world import World


class Violation(AssertionError):
    """An invariant does not hold. ``story`` says what led to it, a sentence a line, with times."""

    story: tuple[str, ...] = ()
    faults: tuple[int, ...] = ()
    """The numbers of the faults that had happened."""
    world: "World | None" = None
    """The world as it was then."""

    @property
    def rule(self) -> str:
        """What was broken: I1 to I5, or the beginning of the text."""
        return str(self).split(":")[0]


class Story:
    """Sentences with times."""

    def __init__(self, scheduler: Scheduler, listener: Callable[[str], None] | None) -> None:
        self._scheduler = scheduler
        self._listener = listener
        self._events: list[tuple[float, str, tuple[object, ...]]] = []
        self.struck_faults: list[int] = []
        """The numbers of the faults that have happened."""

    def tell(self, sentence: str, *args: object) -> None:
        """Add a sentence in the style of `str.format`. The arguments must not change later."""
        self._events.append((self._scheduler.now, sentence, args))
        if self._listener is not None:
            self._listener(_format(*self._events[-1]))

    def tell_fault(self, sentence: str, *args: object) -> None:
        """Add a sentence about the fault that happens now."""
        self.tell("FAULT {}: " + sentence, self.struck_faults[-1], *args)

    def tell_fate(self, sentence: str, instance: str, command: StoreCommand[object], *args: object) -> None:
        """Add what happened to a command if it matters who is master."""
        if type(command) in _READERS:
            self.tell(sentence, instance, command, *args)

    def lines(self) -> tuple[str, ...]:
        """Return all sentences."""
        return tuple(_format(*event) for event in self._events)


def _format(time: float, sentence: str, args: tuple[object, ...]) -> str:
    return f"{time:9.3f} s  {sentence.format(*map(readable, args))}"


def readable(value: object) -> object:
    """Return the value as it reads in a sentence."""
    return read(value) if (read := _READERS.get(type(value))) else value


def _read_term(term: Term) -> str:
    return f"term {term.number % 10**8} of {term.lock_name}"


def _read_timing(timing: Timing) -> str:
    heartbeat, lease = format_duration(timing.heartbeat_interval), format_duration(timing.lease_duration)
    stop = format_duration(timing.stop_timeout)
    return f"heartbeat {heartbeat}, lease {lease}, stop timeout {stop}, {timing.max_heartbeat_retry_count} retries"


_READERS: Mapping[type, Callable[[Any], str]] = MappingProxyType(
    {
        Term: _read_term,
        Timing: _read_timing,
        OpenSession: lambda command: f"opening of session {command.session.id}",
        Renew: lambda command: f"heartbeat of session {command.session_id}",
        Claim: lambda command: f"claim of {', '.join(command.lock_names)}",
        Move: lambda command: f"move of {_read_term(command.term)} to session {command.to_session_id}",
        Release: lambda command: f"release of {', '.join(map(_read_term, command.terms))}",
        Evict: lambda command: f"eviction of session {command.session_id}",
    }
)
