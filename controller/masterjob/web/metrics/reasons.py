"""Why a term ended, as one of a few words: by what the machine was told when it ordered the stop."""

from masterjob.election.core.commands import ReadHeldTerms, Renew
from masterjob.election.core.events import (
    CoreEvent,
    Failure,
    JobStartFailed,
    Reply,
    Shutdown,
    StepDown,
    Tick,
    Withdraw,
)
from masterjob.election.values import Inventory


def stop_reason(event: CoreEvent) -> str:
    """Return the word: disabled, asked, evicted, trust_ended, start_failed, not_held, closed or other."""
    match event:
        case Reply(Renew(), None):
            reason = "evicted"
        case Reply(_, Inventory(stop_requests=flagged)) if flagged:
            reason = "asked" if all(each.is_step_down for each in flagged) else "disabled"
        case Reply(ReadHeldTerms()):
            reason = "not_held"
        case JobStartFailed():
            reason = "start_failed"
        case StepDown():
            reason = "asked"
        case Withdraw() | Shutdown():
            reason = "closed"
        case Tick() | Failure():
            reason = "trust_ended"
        case _:
            reason = "other"
    return reason
