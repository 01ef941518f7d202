"""The life of a run: a pure state machine. An event and a time go in; a status and an action come out.

      start called         lived for startSeconds, or start returned
    ------------> +----------+ --------------------------> +---------+
                  | Starting |                             | Running |
           +----> +----------+ <-------------------------- +---------+
           |           |   exit code 0, `always`; not running   |
           |           +--------------------+-------------------+
           |                                |
     restart due      exit code 0, not `always` | any other exit, or an error
           |                                |
    +----------------+               +-----------+   +--------+
    | Failed, waits  |               | Completed |   | Failed |
    +----------------+               +-----------+   +--------+
      exit code 0 with `always`, before it was Running

A stop leads from Starting and Running to Stopping. Completed and Failed stay: nothing is left to stop, and people
want to see how it ended. After a stop, nothing changes the status any more. A `run` function that returns is like
a command that exits with 0, and one that raises like one that exits with another code.

A failure gives the lock to another instance, except an exit with `never`: then the lock is kept, so that no
instance runs the job again in this term. A command that ends with 0 too early is not given away, because it would
end on other instances too. It counts as a failure and waits longer each time, as in Kubernetes.
"""

from dataclasses import dataclass, replace

from masterjob.concurrency.backoff import Backoff
from masterjob.errors import MasterJobError, describe
from masterjob.job_status import RunPhase, RunStatus, to_one_line
from masterjob.jobs.policy import Restart, RunPolicy

RESTART_BACKOFF = Backoff(1.0, 300.0)
"""The pauses before a restart in place. A command that was Running begins with the first pause again."""

# --- events


@dataclass(frozen=True, slots=True)
class StartCalled:
    """The job was started for the first time in this term."""


@dataclass(frozen=True, slots=True)
class StartTimePassed:
    """The job has lived for its ``start_seconds``."""


@dataclass(frozen=True, slots=True)
class StartReturned:
    """The job's ``start`` has returned without an error, or its service has confirmed that it runs."""


@dataclass(frozen=True, slots=True)
class Exited:
    """A command has exited by itself. ``error`` describes it; ``output`` has its last lines."""

    exit_code: int
    error: MasterJobError
    output: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Returned:
    """The job's ``run`` function has returned by itself. ``error`` describes that, if it was too early."""

    error: MasterJobError


@dataclass(frozen=True, slots=True)
class Raised:
    """The job's ``run`` function has raised an error."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class FoundStopped:
    """The job's service answers, but does not run the job: it is started again in place."""

    error: MasterJobError


@dataclass(frozen=True, slots=True)
class Errored:
    """The job could not be started, or has raised an error, or was ended from outside."""

    error: BaseException
    output: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestartDue:
    """The pause before a restart is over."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The election wants the job to stop."""


RunEvent = (
    StartCalled
    | StartTimePassed
    | StartReturned
    | Exited
    | Returned
    | Raised
    | FoundStopped
    | Errored
    | RestartDue
    | StopRequested
)


# --- actions


@dataclass(frozen=True, slots=True)
class ReportStarted:
    """Report to the election that the job has started."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """Report the error to the election, which gives the lock to another instance."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class RestartAfter:
    """Start the command again in place after this many seconds."""

    seconds: float


RunAction = ReportStarted | HandOver | RestartAfter
Transition = tuple[RunStatus, RunAction | None]


def advance(policy: RunPolicy, run: RunStatus | None, event: RunEvent, now: float) -> Transition:
    """Return the next status of a run (None before it was started) and what to do about it."""
    if run is None:  # it may also fail before its start could be called
        run = RunStatus(RunPhase.STARTING, now)
    if isinstance(event, RestartDue) and run.phase in (RunPhase.STARTING, RunPhase.FAILED):
        return _start(run, now), None
    if run.phase not in (RunPhase.STARTING, RunPhase.RUNNING):
        return run, None
    return _advance_living(policy, run, event, now)


def _advance_living(policy: RunPolicy, run: RunStatus, event: RunEvent, now: float) -> Transition:
    match event, run.phase:
        case StopRequested(), _:
            return replace(run, phase=RunPhase.STOPPING, since=now), None
        case ((StartTimePassed() | StartReturned()), RunPhase.STARTING):
            return _succeed(run, RunPhase.RUNNING, now)
        case ((Exited() | Returned() | Raised()), _):
            return _end(policy, run, event, now)
        case FoundStopped(error), _:
            return _start(replace(run, last_error=to_one_line(str(error))), now), None
        case Errored(error, output), _:
            return _fail(replace(run, output=output), error, now), HandOver(error)
    return run, None


def _start(run: RunStatus, now: float) -> RunStatus:
    return replace(run, phase=RunPhase.STARTING, since=now, restarts=run.restarts + 1)


def _end(policy: RunPolicy, run: RunStatus, event: Exited | Returned | Raised, now: float) -> Transition:
    if isinstance(event, Exited):
        run = replace(run, exit_code=event.exit_code, output=event.output)
    match event:
        case Exited(exit_code=0, error=error) | Returned(error):
            return _end_in_success(policy, run, error, now)
    return _end_in_failure(policy, run, event.error, now)


def _end_in_success(policy: RunPolicy, run: RunStatus, error: MasterJobError, now: float) -> Transition:
    if policy.restart is not Restart.ALWAYS:
        return _succeed(replace(run, is_final=policy.once), RunPhase.COMPLETED, now)
    if run.phase is RunPhase.RUNNING:
        restarting = replace(run, phase=RunPhase.STARTING, since=now, last_error="")
        return restarting, RestartAfter(RESTART_BACKOFF.delay(0))
    return _fail(run, error, now), RestartAfter(RESTART_BACKOFF.delay(run.failures))


def _end_in_failure(policy: RunPolicy, run: RunStatus, error: BaseException, now: float) -> Transition:
    return _fail(run, error, now), None if policy.keeps_lock_after_failure else HandOver(error)


def _succeed(run: RunStatus, phase: RunPhase, now: float) -> Transition:
    action = None if run.has_run else ReportStarted()
    return replace(run, phase=phase, since=now, last_error="", failures=0, has_run=True), action


def _fail(run: RunStatus, error: BaseException, now: float) -> RunStatus:
    text = str(error) if isinstance(error, MasterJobError) else describe(error)
    return replace(run, phase=RunPhase.FAILED, since=now, last_error=to_one_line(text), failures=run.failures + 1)
