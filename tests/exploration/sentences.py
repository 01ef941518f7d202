"""Sentences about moves, for the story of a violation."""

from masterjob.election.core.commands import Claim, Evict, ListVacancies, Renew, StoreCommand
from masterjob.election.values import Inventory, Vacancies
from tests.exploration.moves import Move, Verb
from tests.exploration.process import Stage, noun_of
from tests.exploration.states import CallSummary

_SENTENCES = {
    Verb.TICK: "",
    Verb.DELIVER: "",
    Verb.NOTIFY: "{} is notified of a change",
    Verb.LOSE_NOTICE: "the notification to {} is lost",
    Verb.RETURN: "{}'s stop returns",
    Verb.SLOW_STOP: "{}'s stop takes time",
    Verb.FREEZE: "{} is frozen",
    Verb.THAW: "{} is resumed",
    Verb.CUT: "{} is cut off from the database",
    Verb.DEAFEN: "{} gets no answers from the database any more",
    Verb.HEAL: "{} reaches the database again",
    Verb.KILL: "{} is killed",
    Verb.SHUT_DOWN: "{} is told to end",
    Verb.DISABLE: "somebody disables {}",
    Verb.ENABLE: "somebody enables {}",
    Verb.STEP_FORWARD: "the database's clock is stepped forward{}",
    Verb.STEP_BACK: "the database's clock is stepped back{}",
    Verb.STEP_DOWN: "somebody asks the master of {} to step down",
}


def move_sentence(move: Move, subject: str) -> str:
    """Return the sentence for a move of a process, or of a lock; an empty text if it is not worth one."""
    return _SENTENCES[move.verb].format(subject)


def call_sentence(name: str, call: CallSummary, verb: Verb) -> str:
    """Return the sentence for what happens to a call or its answer."""
    noun = noun_of(call.command)
    match verb:
        case Verb.DELIVER_STRAY:
            return f"{name} gets the answer to a {noun} that it has given up"
        case Verb.DROP_STRAY:
            return f"the {noun} that {name} has given up is lost"
        case Verb.FAIL:
            executed = "was executed" if call.stage is Stage.ANSWERED else "was not executed"
            return f"{name}'s {noun} fails with a lost connection (it {executed})"
        case _:
            when = "after" if call.stage is Stage.ANSWERED else "before"
            return f"{name}'s {noun} is held back {when} its execution"


def execution_sentence(name: str, call: CallSummary, answer: object) -> str:
    """Return the sentence for the execution of a call."""
    late = "at last " if call.is_held_back else ""
    noun, outcome = noun_of(call.command), _outcome(call.command, answer)
    return f"the database {late}executes {name}'s {noun}{outcome}"


def _outcome(command: StoreCommand[object], answer: object) -> str:
    outcome = ""
    match command, answer:
        case Claim(), _:
            granted = [term.lock_name for term in answer] if isinstance(answer, tuple) else []
            outcome = f" of {', '.join(command.lock_names)}"
            outcome += f": it gets {', '.join(granted) or 'nothing'}" if isinstance(answer, tuple) else ""
        case Evict(), _:
            refusal = ": refused" if answer is None else ""
            outcome = f" of {command.watched.row.instance}{refusal}"
        case Renew(), None:
            outcome = ": its session is gone"
        case ListVacancies(), Vacancies():
            outcome = f": {', '.join(answer.lock_names) or 'none'}"
        case _, Inventory() if answer.stop_requests:
            outcome = f": {answer.stop_requests[0].reason}"
    return outcome
