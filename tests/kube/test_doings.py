"""What an instance does as master, put together from the steps of its election."""

from masterjob.election.machine.actions import Action, StartJob, StopJob
from masterjob.election.machine.events import Event, Started, StartFailed, Stopped, Tick
from masterjob.election.observing import Seen
from masterjob.election.values import Term
from masterjob.kube.status.doings import Doings
from masterjob.kube.status.facts import Doing, Phase

TERM = Term("JOB", 5)


def step(doings: Doings, event: Event, *actions: Action) -> list[str]:
    return doings.take_in(Seen("me", 0.0, event, actions))


def test_a_term_is_running_from_the_call_of_its_start() -> None:
    doings = Doings()
    assert step(doings, Tick(), StartJob(TERM)) == ["JOB"]
    assert doings.of("JOB") == Doing(5, Phase.RUNNING)
    assert doings.serves("JOB")
    assert step(doings, Started(TERM)) == []


def test_a_stop_says_why_until_it_has_returned() -> None:
    doings = Doings()
    step(doings, Tick(), StartJob(TERM))
    assert step(doings, Tick(), StopJob(TERM, "disabled by ann")) == ["JOB"]
    assert doings.of("JOB") == Doing(5, Phase.STOPPING, "disabled by ann")
    assert doings.serves("JOB")
    step(doings, Stopped(TERM))
    assert doings.of("JOB") == Doing(5, Phase.STOPPED)
    assert not doings.serves("JOB")


def test_a_failed_start_outlasts_the_stop_that_follows_it() -> None:
    doings = Doings()
    step(doings, Tick(), StartJob(TERM))
    step(doings, StartFailed(TERM, "OSError: no route"), StopJob(TERM, "start failed"))
    step(doings, Stopped(TERM))
    assert doings.of("JOB") == Doing(5, Phase.FAILED, "start failed: OSError: no route")


def test_the_next_term_begins_anew() -> None:
    doings = Doings()
    step(doings, Tick(), StartJob(TERM))
    step(doings, StartFailed(TERM, "x"), StopJob(TERM, "start failed"))
    step(doings, Tick(), StartJob(Term("JOB", 6)))
    assert doings.of("JOB") == Doing(6, Phase.RUNNING)


def test_of_a_lock_that_it_never_served_there_is_nothing_to_say() -> None:
    assert Doings().of("JOB") is None
    assert not Doings().serves("JOB")
