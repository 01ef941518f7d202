"""Alive and ready: what probes are told, and what has no say in it."""

from masterjob.election.core.actions import Abandon
from masterjob.election.core.commands import ListSessions
from masterjob.election.core.events import Failure, Reply
from masterjob.election.observers import Step
from masterjob.election.values import SessionList
from masterjob.web.health import DatabaseReadiness, Health
from tests.web.conftest import LOCK_NAME, FakeInstance, HangingLockAdmin, ServeApi


def test_an_election_that_turns_is_alive() -> None:
    assert Health(lambda: [FakeInstance(lag=0.2, trust_left=3.0), FakeInstance()]).liveness_problems() == []
    assert Health(list).liveness_problems() == []


def test_a_stuck_elector_is_not_and_that_within_any_lease() -> None:
    assert Health(lambda: [FakeInstance(), FakeInstance(lag=1.5)]).liveness_problems() == [
        "the election's thread has not turned for 1.5 s"
    ]


def test_a_term_on_a_trust_that_is_over_is_not() -> None:
    assert (
        Health(lambda: [FakeInstance(trust_left=-0.1)]).liveness_problems() == []
    )  # its guard is about to see it
    assert Health(lambda: [FakeInstance(trust_left=-2.0)]).liveness_problems() == [
        "a term stands on a trust that was over 2.0 s ago"
    ]


def test_an_election_that_has_ended_by_a_defect_is_not() -> None:
    assert Health(lambda: [FakeInstance(is_closed=True)]).liveness_problems() == [
        "the election has failed, and has ended here"
    ]


def test_a_database_in_trouble_is_alive_but_not_ready() -> None:
    health = Health(
        lambda: [FakeInstance(unavailable_reason="the database cannot be used: postgresql://app:geheim@db")]
    )
    assert health.liveness_problems() == []
    assert health.readiness_problems() == ["the database was not reached yet"]


def test_readiness_waits_for_its_checks() -> None:
    resources_listed = [False]
    check = lambda: None if resources_listed[0] else "the resources were not listed yet"  # noqa: E731 - as it is handed over
    health = Health(list, [check])
    assert health.readiness_problems() == ["the resources were not listed yet"]
    resources_listed[0] = True
    assert health.readiness_problems() == []


def test_readiness_follows_the_last_answer_of_the_database() -> None:
    readiness, command = DatabaseReadiness(), ListSessions(0.0)
    assert readiness() is None
    readiness.on_step(Step("me", 1.0, Failure(command, "refused"), ()))
    assert readiness() == "the database did not answer when it was last asked"
    readiness.on_step(Step("other", 1.0, Reply(command, SessionList(0, ())), ()))
    assert readiness() is not None  # another instance's database
    readiness.on_step(Step("me", 2.0, Reply(command, SessionList(0, ())), ()))
    assert readiness() is None
    readiness.on_step(Step("me", 3.0, Reply(command, SessionList(0, ())), (Abandon(command),)))
    assert readiness() is None


def test_the_probe_port_serves_three_paths_without_a_token_and_nothing_else(serve: ServeApi) -> None:
    api = serve(HangingLockAdmin(), port=None, probe_port=0, probe_host="127.0.0.1")
    client = api.client
    assert (client.get("/healthz").body, client.get("/readyz").body) == (b"alive\n", b"ready\n")
    assert b"masterjob_build_info" in client.get("/metrics", Host="10.0.0.7:9090").body
    for path in (
        "/",
        "/api/MasterLocks",
        "/api/MasterControls",
        "/explorer",
        "/api/openapi.json",
        f"/{LOCK_NAME}",
    ):
        assert client.get(path).status == 404
    assert client.post_form("/api/MasterControls/disable", lockName=LOCK_NAME, reason="x").status == 404
    api.instances.append(FakeInstance(lag=9.0, unavailable_reason="x"))
    unhealthy = client.get("/healthz")
    assert (unhealthy.status, unhealthy.body) == (503, b"the election's thread has not turned for 9.0 s\n")
    assert client.get("/readyz").status == 503
