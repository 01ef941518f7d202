"""Alive and ready: what probes are told, and what has no say in it."""

from masterjob.election.machine.actions import Abandon
from masterjob.election.machine.commands import LookAtSessions
from masterjob.election.machine.events import Failure, Reply
from masterjob.election.observing import Seen
from masterjob.election.values import Census
from masterjob.web.health import DatabaseAnswers, Health
from tests.web.conftest import LOCK, HungBoard, Patient, Serve


def test_an_election_that_turns_is_alive() -> None:
    assert Health(lambda: [Patient(late=0.2, trust_left=3.0), Patient()]).ails() == []
    assert Health(list).ails() == []


def test_a_stuck_elector_is_not_and_that_within_any_lease() -> None:
    assert Health(lambda: [Patient(), Patient(late=1.5)]).ails() == [
        "the election's thread has not turned for 1.5 s"
    ]


def test_a_term_on_a_trust_that_is_over_is_not() -> None:
    assert Health(lambda: [Patient(trust_left=-0.1)]).ails() == []  # its guard is about to see it
    assert Health(lambda: [Patient(trust_left=-2.0)]).ails() == [
        "a term stands on a trust that was over 2.0 s ago"
    ]


def test_an_election_that_has_ended_by_a_defect_is_not() -> None:
    assert Health(lambda: [Patient(over=True)]).ails() == ["the election has failed, and has ended here"]


def test_a_database_in_trouble_is_alive_but_not_ready() -> None:
    health = Health(lambda: [Patient(trouble="the database cannot be used: postgresql://app:geheim@db")])
    assert health.ails() == []
    assert health.lacks() == ["the database was not reached yet"]


def test_readiness_asks_for_what_it_was_given() -> None:
    listed = [False]
    check = lambda: None if listed[0] else "the resources were not listed yet"  # noqa: E731 - as it is handed over
    health = Health(list, [check])
    assert health.lacks() == ["the resources were not listed yet"]
    listed[0] = True
    assert health.lacks() == []


def test_the_database_answered_when_it_was_last_asked() -> None:
    answers, look = DatabaseAnswers(), LookAtSessions(0.0)
    assert answers() is None
    answers.see(Seen("me", 1.0, Failure(look, "refused"), ()))
    assert answers() == "the database did not answer when it was last asked"
    answers.see(Seen("other", 1.0, Reply(look, Census(0, ())), ()))
    assert answers() is not None  # another instance's database
    answers.see(Seen("me", 2.0, Reply(look, Census(0, ())), ()))
    assert answers() is None
    answers.see(Seen("me", 3.0, Reply(look, Census(0, ())), (Abandon(look),)))
    assert answers() is None


def test_the_probe_port_answers_three_questions_without_a_token_and_nothing_else(serve: Serve) -> None:
    served = serve(HungBoard(), port=None, probe_port=0, probe_host="127.0.0.1")
    client = served.client
    assert (client.get("/healthz").body, client.get("/readyz").body) == (b"alive\n", b"ready\n")
    assert b"masterjob_build_info" in client.get("/metrics", Host="10.0.0.7:9090").body
    for path in ("/", "/api/MasterLocks", "/api/MasterControls", "/explorer", "/api/openapi.json", f"/{LOCK}"):
        assert client.get(path).status == 404
    assert client.form("/api/MasterControls/disable", lockName=LOCK, reason="x").status == 404
    served.members.append(Patient(late=9.0, trouble="x"))
    sick = client.get("/healthz")
    assert (sick.status, sick.body) == (503, b"the election's thread has not turned for 9.0 s\n")
    assert client.get("/readyz").status == 503
