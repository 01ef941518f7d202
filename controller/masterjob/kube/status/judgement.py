"""Which conditions follow from the facts: one function each, and one sentence each for people.

No sentence has a number in it that changes by itself, or a status would have to be written again and again.

Source: design section 6.1.
"""

from collections.abc import Iterator

from masterjob.election.views import Disabled, LockStatus, how_to_enable
from masterjob.kube.status.conditions import Condition, Kind, Reason, Truth, find
from masterjob.kube.status.facts import Facts, Phase

_STALLING = (Reason.CONFLICT, Reason.INVALID, Reason.UNKNOWN_JOB)
_DEFECTS = (Reason.CONFLICT, Reason.INVALID)
"""Problems of the resource itself, which count whatever the election does."""


def conditions(facts: Facts) -> Iterator[Condition]:
    """Return all conditions, those that are there only while they are true last."""
    ready = _ready(facts)
    yield ready
    yield _elected(facts)
    yield _enabled(facts)
    yield _job_running(facts)
    if ready.reason in _STALLING:
        yield Condition(Kind.STALLED, "True", ready.reason, ready.message)
    elif ready.reason in (Reason.VACANT, Reason.STOPPING):
        yield Condition(Kind.RECONCILING, "True", ready.reason, ready.message)


def _ready(facts: Facts) -> Condition:
    if facts.problem is not None and facts.problem.reason in _DEFECTS:
        return Condition(Kind.READY, "False", facts.problem.reason, facts.problem.words)
    if facts.overlooked:
        return _overlooked(Kind.READY, Reason.STOPPING)
    return _unread(Kind.READY, facts) if facts.lock is None else _ready_by(facts.lock, facts)


def _ready_by(lock: LockStatus, facts: Facts) -> Condition:
    match lock.state:
        case "Disabled":
            return Condition(Kind.READY, "True", Reason.DISABLED, _why_disabled(lock))
        case "Stopping":
            return Condition(Kind.READY, "False", Reason.STOPPING, f"{_who(lock)} stops: {_why_disabled(lock)}")
        case "Elected":
            return Condition(Kind.READY, "True", Reason.ELECTED, f"{_who(lock)} is master")
    known = (
        _job_running(facts).reason is Reason.START_FAILED
    )  # somebody has tried: there are pods that know the job
    if facts.problem is not None and facts.problem.reason is Reason.UNKNOWN_JOB and not known:
        return Condition(Kind.READY, "False", Reason.UNKNOWN_JOB, facts.problem.words)
    return Condition(Kind.READY, "False", Reason.VACANT, _why_vacant(facts, lock))


def _overlooked(kind: Kind, reason: Reason) -> Condition:
    return Condition(kind, "False", reason, "its spec disables it; the database is yet to be told")


def _elected(facts: Facts) -> Condition:
    if not facts.owns_lock:
        return Condition(Kind.ELECTED, "False", Reason.CONFLICT, "the lock belongs to another resource")
    lock = facts.lock
    if lock is None:
        return _unread(Kind.ELECTED, facts)
    if lock.master is not None and lock.master.alive:
        return Condition(Kind.ELECTED, "True", Reason.ELECTED, f"{_who(lock)} is master")
    if lock.master is not None:
        return Condition(Kind.ELECTED, "Unknown", Reason.MASTER_SILENT, _why_vacant(facts, lock))
    if not lock.enabled:
        return Condition(Kind.ELECTED, "False", Reason.DISABLED, _why_disabled(lock))
    return Condition(Kind.ELECTED, "False", Reason.VACANT, _why_vacant(facts, lock))


def _enabled(facts: Facts) -> Condition:
    if not facts.owns_lock:
        return Condition(Kind.ENABLED, "Unknown", Reason.CONFLICT, "what this one says of the lock does not count")
    if facts.lock is None:
        return _unread(Kind.ENABLED, facts)
    if facts.overlooked:
        return _overlooked(Kind.ENABLED, Reason.DISABLED_BY_SPEC)
    if facts.lock.disabled is None:
        return Condition(Kind.ENABLED, "True", Reason.ENABLED, "nothing disables it")
    disabled = facts.lock.disabled
    message = f"{_why_disabled(facts.lock)}; to enable it: {how_to_enable(facts.lock)}"
    return Condition(Kind.ENABLED, "False", _by(facts, disabled), message)


def _by(facts: Facts, disabled: Disabled) -> Reason:
    if disabled.source == facts.observed.uid:
        return Reason.DISABLED_BY_SPEC
    return Reason.DISABLED_BY_API if disabled.source == "api" else Reason.DISABLED_ELSEWHERE


def _job_running(facts: Facts) -> Condition:
    if (mine := _doing(facts)) is not None:
        return mine
    if facts.master is not None and not facts.master.alive:
        return _job("Unknown", Reason.NOT_REPORTED, "its master is silent")
    if facts.master is not None:
        return _as_it_was(facts) or _job("Unknown", Reason.NOT_REPORTED, "its master has not told yet")
    if facts.database_trouble is not None and facts.own_doing is None:
        return _as_it_was(facts) or _job("Unknown", Reason.NOT_REPORTED, "the database cannot be read")
    failed = find(facts.before, Kind.JOB_RUNNING)
    if failed.get("reason") == Reason.START_FAILED and _same_term(facts):
        return _job("False", Reason.START_FAILED, str(failed.get("message", "")))
    return _job("False", Reason.NOT_ELECTED, "there is no master to run it")


def _doing(facts: Facts) -> Condition | None:
    """What this instance knows, since it is master itself, or was last."""
    doing = facts.own_doing
    if doing is None or not facts.owns_lock:
        return None
    match doing.phase:
        case Phase.RUNNING:
            return _job("True", Reason.RUNNING, "the job's start was called")
        case Phase.STOPPING:
            return _job("True", Reason.STOPPING, f"the job is being stopped: {doing.why}")
        case Phase.FAILED:
            return _job("False", Reason.START_FAILED, doing.why)
    return None


def _job(status: Truth, reason: Reason, message: str) -> Condition:
    return Condition(Kind.JOB_RUNNING, status, reason, message)


def _as_it_was(facts: Facts) -> Condition | None:
    """Return what the master has told of its job before, as long as it is the same term."""
    before = find(facts.before, Kind.JOB_RUNNING)
    if not before or not _same_term(facts) or "master" not in facts.before:
        return None
    try:
        return _job(before["status"], Reason(before["reason"]), str(before.get("message", "")))
    except ValueError:  # of another version, or of somebody else's making
        return None


def _same_term(facts: Facts) -> bool:
    term = facts.before.get("term", 0)
    return bool(term) and (facts.lock is None or facts.lock.term == term)


def _unread(kind: Kind, facts: Facts) -> Condition:
    """What can be said without the database: that it is silent, or that nobody has used the lock yet."""
    if facts.database_trouble is not None:
        # The error itself is for the log: it names hosts and users, and differs from pod to pod.
        return Condition(kind, "Unknown", Reason.DATABASE_UNAVAILABLE, "the database does not answer")
    if kind is Kind.ENABLED:
        return Condition(kind, "True", Reason.ENABLED, "nothing disables it")
    if facts.problem is not None and kind is Kind.READY:
        return Condition(kind, "False", facts.problem.reason, facts.problem.words)
    return Condition(kind, "False", Reason.VACANT, "no pod has competed for the lock yet")


def _who(lock: LockStatus) -> str:
    return "" if lock.master is None else lock.master.pod or lock.master.instance


def _why_disabled(lock: LockStatus) -> str:
    """Say who disabled it and why; where no switch says so, it is just being switched."""
    return "it is disabled" if lock.disabled is None else f"disabled by {lock.disabled.by}: {lock.disabled.reason}"


def _why_vacant(facts: Facts, lock: LockStatus) -> str:
    if lock.master is not None:
        return f"{_who(lock)} is silent, and evicted when its lease is over"
    failed = _job_running(facts)
    if failed.reason is Reason.START_FAILED:
        return f"nobody is master: {failed.message}"
    return "nobody is master: the lock is free for any pod that knows the job"
