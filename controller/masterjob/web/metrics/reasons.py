"""Why a term ended, as one of a few words: by what the machine was told when it ordered the stop."""

from masterjob.election.machine.commands import ReadHeld, Renew
from masterjob.election.machine.events import Event, Failure, Leave, Reply, StartFailed, StepDown, Tick, Withdraw
from masterjob.election.values import Inventory


def reason_of(event: Event) -> str:
    """Return the word: disabled, asked, evicted, trust_ended, start_failed, not_held, closed or other."""
    match event:
        case Reply(Renew(), None):
            word = "evicted"
        case Reply(_, Inventory(flagged=flagged)) if flagged:
            word = "asked" if all(each.asked for each in flagged) else "disabled"
        case Reply(ReadHeld()):
            word = "not_held"
        case StartFailed():
            word = "start_failed"
        case StepDown():
            word = "asked"
        case Withdraw() | Leave():
            word = "closed"
        case Tick() | Failure():
            word = "trust_ended"
        case _:
            word = "other"
    return word
