"""What the history says of the runs of this instance's jobs. It decides nothing."""

from masterjob.election.core.events import JobRunChanged
from masterjob.election.core.session import Session
from masterjob.election.core.state import ElectorState, Lock, Serving
from masterjob.election.values import Term, TransitionKind
from masterjob.job_status import RunPhase, RunStatus

FAILURES = (TransitionKind.FAILED, TransitionKind.START_FAILED)


def transition_of(run: RunStatus, previous: TransitionKind | None) -> TransitionKind | None:
    """Return what the history says of a run, if anything; ``previous`` is what it said last in this term."""
    match run.phase:
        case RunPhase.RUNNING:
            return TransitionKind.RUNNING
        case RunPhase.STARTING if previous is TransitionKind.RUNNING:
            return TransitionKind.RESTARTING
        case RunPhase.COMPLETED:
            return TransitionKind.COMPLETED
        case RunPhase.FAILED:
            return TransitionKind.FAILED if previous is TransitionKind.RUNNING else TransitionKind.START_FAILED
    return None


def record_run(state: ElectorState, lock: Lock, event: JobRunChanged) -> None:
    """Record the change of a run, at the time at which it happened."""
    if (kind := transition_of(event.run, lock.last_run_transition)) is not None:
        lock.last_run_transition = kind
        state.record(kind, event.term, _describe(kind, lock.name, event.run), happened_at=event.run.since)


def _describe(kind: TransitionKind, name: str, run: RunStatus) -> str:
    """Return a sentence. No two of one term are alike, so that an attempt to write them again is recognized."""
    match kind:
        case TransitionKind.RUNNING:
            return f"the job of {name} runs" + (f" after restart {run.restarts}" if run.restarts else "")
        case TransitionKind.RESTARTING:
            return f"the job of {name} has ended with exit code {run.exit_code}: restart {run.restarts + 1}"
        case TransitionKind.COMPLETED:
            return f"the job of {name} has completed"
        case TransitionKind.FAILED:
            return f"the job of {name} failed: {run.last_error}"
    attempt = f" (restart {run.restarts})" if run.restarts else ""
    return f"start of {name} failed: {run.last_error}{attempt}"


def record_start_failure(state: ElectorState, lock: Lock, term: Term, error: str) -> None:
    """Record that the lock is given away after a failure, unless the run has said so."""
    if lock.last_run_transition not in FAILURES:
        state.record(TransitionKind.START_FAILED, term, f"start of {lock.name} failed: {error}")


def record_stop(state: ElectorState, lock: Lock, term: Term, reason: str) -> None:
    """Record that the job has stopped."""
    state.record(TransitionKind.STOPPED, term, f"the job of {lock.name} has stopped: {reason}")


def record_end_of_trust(state: ElectorState, session: Session, reason: str) -> None:
    """Record for each job that runs on this session why it has to stop."""
    for name in sorted(session.locks):
        if isinstance(phase := state.locks[name].phase, Serving):
            reason_of_lock = f"{state.identity.instance} stops the job of {name}: {reason}"
            state.record(TransitionKind.TRUST_ENDED, phase.term, reason_of_lock)
