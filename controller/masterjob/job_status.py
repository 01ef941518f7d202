"""The life of a job as values: one run of it, as its instance reports it and as the database keeps it for people.

A run is one execution of a job in one term. Its phases (`masterjob.jobs.lifecycle` has the transitions)::

    Starting -> Running -> Completed | Failed, and Stopping

A job that was stopped, or never started, has no run and no phase.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

START_SECONDS = 5.0
"""Seconds for which a job must live to count as Running, unless it says otherwise."""

ONCE_SOURCE = "once"
"""The source that disables the lock of a job with ``once: true`` when the job has completed."""

MAX_OUTPUT_LINES = 50
MAX_OUTPUT_CHARACTERS = 8_000
MAX_ERROR_CHARACTERS = 1_000

_INVISIBLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class RunPhase(StrEnum):
    """The phase of a run."""

    STARTING = "Starting"
    """It was started, or is about to be started again in place, and has not lived for its start time."""
    RUNNING = "Running"
    COMPLETED = "Completed"
    """Its work is done. The lock is kept, and nothing of it is started again in this term."""
    FAILED = "Failed"
    STOPPING = "Stopping"


FINAL_PHASES = frozenset({RunPhase.COMPLETED, RunPhase.FAILED})
"""Phases that stay when the job is stopped: nothing of it runs any more."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The status of a run. ``since`` is when this phase began, in seconds of the instance's own clock.

    ``exit_code`` (minus the signal, if one ended it), ``last_error`` (one line) and ``output`` (the last lines)
    are those of the last execution that ended in this term. ``restarts`` counts the executions after the first.
    """

    phase: RunPhase
    since: float
    exit_code: int | None = None
    restarts: int = 0
    last_error: str = ""
    output: tuple[str, ...] = ()
    failures: int = 0
    """The failures in a row in this term, since it was Running last."""
    has_run: bool = False
    """Whether it was Running, or has completed, in this term: then the failures of earlier terms do not count."""
    is_final: bool = False
    """Whether it has completed a job that must not run again (``once: true``)."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The status of a run, to be written for people. ``is_over``: the job was stopped, so there is no run now."""

    lock_name: str
    job: str
    instance: str
    term: int
    run: RunStatus
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The last run of a lock's job, as the database has it. ``phase`` is None if it was stopped.

    ``job`` is its name, empty for a job of the library. The other fields are those of `RunStatus`; ``output`` is
    read only if one lock is read. ``consecutive_failures`` counts over all instances and terms.
    """

    lock_name: str
    job: str
    instance: str
    term: int
    phase: RunPhase | None
    since: datetime
    exit_code: int | None = None
    restarts: int = 0
    consecutive_failures: int = 0
    last_error: str = ""
    output: tuple[str, ...] = ()


def to_one_line(text: str, limit: int = MAX_ERROR_CHARACTERS) -> str:
    """Return the text as one line, with control characters made visible, cut to ``limit`` characters."""
    line = show_invisible(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def bound_output(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the last lines that fit into the bounds of an output, with control characters made visible."""
    kept: list[str] = []
    characters_left = MAX_OUTPUT_CHARACTERS
    for line in reversed(list(lines)[-MAX_OUTPUT_LINES:]):
        shown = show_invisible(line)[:MAX_ERROR_CHARACTERS]
        characters_left -= len(shown) + 1
        if characters_left < 0:
            break
        kept.insert(0, shown)
    return tuple(kept)


def show_invisible(text: str) -> str:
    """Return the text with escapes in place of control characters and other invisible ones, except tabs."""
    return _INVISIBLE.sub(lambda match: _escape(ord(match[0])), text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
