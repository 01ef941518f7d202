"""The status that follows from what the database has and from what this instance does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from masterjob.election.views import Disabled, LockStatus, MasterSeen
from masterjob.kube.follow.observed import Observed
from masterjob.kube.status.conditions import REASONS, Condition, Kind, Reason, find
from masterjob.kube.status.events import of_status
from masterjob.kube.status.facts import Doing, Facts, Phase, Problem
from masterjob.kube.status.projection import is_behind, is_for_its_master, may_be_told, project
from masterjob.resource.resource import Origin, Resource

THEN = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
NOW = datetime(2026, 1, 1, 13, 0, tzinfo=UTC)
MASTER = MasterSeen("pod-a-1-x", "10.0.0.1", "pod-a", "node-1", THEN, 1.0, alive=True)
BY_API = Disabled("moving", "ann", "api", THEN, None)
BY_SPEC = Disabled("moving", "MasterJob ns/job", "uid", THEN, None, "ns/job")
TIMING = {"heartbeatInterval": "8s"}


def observed(status: dict[str, Any] | None = None, *, enabled: bool = True, generation: int = 1) -> Observed:
    origin = Origin("cluster", generation, "2026-01-01T00:00:00Z")
    resource = Resource(name="job", namespace="ns", lock_name="JOB", enabled=enabled, origin=origin)
    return Observed(
        uid="uid",
        namespace="ns",
        name="job",
        resource_version="7",
        generation=generation,
        created=origin.created,
        resource=resource,
        error=None,
        lock_name="JOB",
        status=status or {},
    )


def lock(master: MasterSeen | None = None, disabled: Disabled | None = None, term: int = 5) -> LockStatus:
    return LockStatus("JOB", disabled is None, disabled, master, term)


VACANT = Facts(observed(), lock())
ELECTED = Facts(observed(), lock(MASTER), doing=Doing(5, Phase.RUNNING), timing=TIMING, settled=1)
DISABLED = Facts(observed(enabled=False), lock(disabled=BY_SPEC))


def told(facts: Facts, kind: Kind) -> tuple[str, str]:
    condition = find(project(facts, NOW), kind)
    return condition.get("status", "absent"), condition.get("reason", "absent")


def message(facts: Facts, kind: Kind) -> str:
    return str(find(project(facts, NOW), kind)["message"])


def test_an_elected_lock_is_ready_and_names_its_master() -> None:
    status = project(ELECTED, NOW)
    assert status["master"] == {
        "instance": "pod-a-1-x",
        "pod": "pod-a",
        "node": "node-1",
        "address": "10.0.0.1",
        "since": "2026-01-01T12:00:00Z",
    }
    assert (status["term"], status["transitions"], status["observedGeneration"]) == (5, 1, 1)
    assert status["timing"] == TIMING
    assert told(ELECTED, Kind.READY) == ("True", "Elected")
    assert told(ELECTED, Kind.ELECTED) == ("True", "Elected")
    assert told(ELECTED, Kind.ENABLED) == ("True", "Enabled")
    assert told(ELECTED, Kind.JOB_RUNNING) == ("True", "Running")
    assert told(ELECTED, Kind.RECONCILING) == ("absent", "absent")


def test_a_vacant_lock_is_not_ready_and_on_its_way() -> None:
    assert told(VACANT, Kind.READY) == ("False", "Vacant")
    assert told(VACANT, Kind.ELECTED) == ("False", "Vacant")
    assert told(VACANT, Kind.JOB_RUNNING) == ("False", "NotElected")
    assert told(VACANT, Kind.RECONCILING) == ("True", "Vacant")
    assert "master" not in project(VACANT, NOW)


def test_a_lock_that_was_never_used_is_vacant() -> None:
    facts = Facts(observed())
    assert told(facts, Kind.READY) == ("False", "Vacant")
    assert told(facts, Kind.ENABLED) == ("True", "Enabled")


def test_a_disabled_resource_is_what_its_owner_asked_for() -> None:
    assert told(DISABLED, Kind.READY) == ("True", "Disabled")
    assert told(DISABLED, Kind.ENABLED) == ("False", "DisabledBySpec")
    assert project(DISABLED, NOW)["disabled"] == {
        "reason": "moving",
        "actor": "MasterJob ns/job",
        "source": "uid",
        "since": "2026-01-01T12:00:00Z",
    }


@pytest.mark.parametrize(
    ("disabled", "reason", "command"),
    [
        (BY_SPEC, "DisabledBySpec", "kubectl patch masterjob job -n ns --type merge"),
        (BY_API, "DisabledByAPI", "masterjob enable JOB"),
        (
            replace(BY_SPEC, source="other", resource="ns/other"),
            "DisabledElsewhere",
            "kubectl patch masterjob other",
        ),
    ],
)
def test_the_enabled_condition_says_who_disabled_it_and_how_to_clear_that(
    disabled: Disabled, reason: str, command: str
) -> None:
    facts = Facts(observed(), lock(disabled=disabled))
    assert told(facts, Kind.ENABLED) == ("False", reason)
    assert "moving" in message(facts, Kind.ENABLED)
    assert command in message(facts, Kind.ENABLED)


def test_a_disabled_lock_that_still_has_its_master_is_stopping() -> None:
    facts = Facts(
        observed(), lock(MASTER, BY_API), doing=Doing(5, Phase.STOPPING, "disabled by ann (api): moving")
    )
    assert told(facts, Kind.READY) == ("False", "Stopping")
    assert told(facts, Kind.ELECTED) == ("True", "Elected")
    assert told(facts, Kind.JOB_RUNNING) == ("True", "Stopping")
    assert told(facts, Kind.RECONCILING) == ("True", "Stopping")


def test_a_silent_master_is_told_without_numbers_that_change() -> None:
    silent = Facts(observed(), lock(replace(MASTER, alive=False, heartbeat_age=31.0)))
    later = Facts(observed(), lock(replace(MASTER, alive=False, heartbeat_age=32.0)))
    assert told(silent, Kind.ELECTED) == ("Unknown", "MasterSilent")
    assert told(silent, Kind.READY) == ("False", "Vacant")
    assert project(silent, NOW) == project(later, NOW)


def test_of_the_job_of_a_silent_master_nobody_knows_more_than_that() -> None:
    before = project(ELECTED, NOW)
    silent = Facts(observed(before), lock(replace(MASTER, alive=False)))
    assert find(before, Kind.JOB_RUNNING)["status"] == "True"
    assert told(silent, Kind.JOB_RUNNING) == ("Unknown", "NotReported")


def test_a_failed_start_stays_the_reason_until_the_next_term() -> None:
    failed = Facts(observed(), lock(), doing=Doing(5, Phase.FAILED, "start failed: no route"))
    assert told(failed, Kind.JOB_RUNNING) == ("False", "StartFailed")
    assert "start failed: no route" in message(failed, Kind.READY)
    another = Facts(observed(project(failed, NOW)), lock())
    assert told(another, Kind.JOB_RUNNING) == ("False", "StartFailed")
    next_term = Facts(observed(project(failed, NOW)), lock(term=6))
    assert told(next_term, Kind.JOB_RUNNING) == ("False", "NotElected")


def test_others_leave_what_only_the_master_knows_as_they_found_it() -> None:
    before = project(ELECTED, NOW)
    seen_by_another = Facts(observed(before), lock(MASTER), timing={"heartbeatInterval": "1s"})
    assert project(seen_by_another, NOW + timedelta(hours=1)) == before


def test_a_master_that_has_not_told_yet_is_elected_with_a_job_that_nobody_knows_of() -> None:
    facts = Facts(observed(), lock(MASTER))
    assert told(facts, Kind.READY) == ("True", "Elected")
    assert told(facts, Kind.JOB_RUNNING) == ("Unknown", "NotReported")


def test_the_time_of_a_condition_stays_while_its_status_does() -> None:
    before = project(VACANT, THEN)
    after = project(replace(ELECTED, observed=observed(before)), NOW)
    times = {each["type"]: each["lastTransitionTime"] for each in after["conditions"]}
    assert times["Ready"] == "2026-01-01T13:00:00Z"
    assert times["Enabled"] == "2026-01-01T12:00:00Z"


def test_nothing_new_changes_nothing() -> None:
    for facts in (VACANT, ELECTED, DISABLED):
        status = project(facts, THEN)
        again = replace(facts, observed=replace(facts.observed, status=status))
        assert project(again, NOW) == status


def test_each_new_master_is_one_transition() -> None:
    first = project(ELECTED, NOW)
    same = project(replace(ELECTED, observed=observed(first)), NOW)
    second = Facts(observed(same), lock(MASTER, term=9), doing=Doing(9, Phase.RUNNING))
    assert [first["transitions"], same["transitions"], project(second, NOW)["transitions"]] == [1, 1, 2]


def test_a_conflict_is_stalled_and_takes_nothing_of_the_others_lock() -> None:
    facts = Facts(observed(), lock(MASTER), problem=Problem(Reason.CONFLICT, "lock JOB belongs to ns/first"))
    status = project(facts, NOW)
    assert told(facts, Kind.READY) == ("False", "Conflict")
    assert told(facts, Kind.STALLED) == ("True", "Conflict")
    assert told(facts, Kind.ELECTED) == ("False", "Conflict")
    assert "master" not in status
    assert status["term"] == 0
    assert status["observedGeneration"] == 1  # it is answered: tools that wait see that it has failed


def test_an_invalid_resource_says_why_while_its_job_runs_on() -> None:
    facts = replace(ELECTED, problem=Problem(Reason.INVALID, "leaseDuration 1s is too short"))
    assert told(facts, Kind.READY) == ("False", "Invalid")
    assert told(facts, Kind.STALLED) == ("True", "Invalid")
    assert told(facts, Kind.JOB_RUNNING) == ("True", "Running")


def test_a_job_that_this_pod_does_not_know_counts_only_where_nobody_is_master() -> None:
    problem = Problem(Reason.UNKNOWN_JOB, "no job 'x' is known here")
    assert told(replace(VACANT, problem=problem), Kind.READY) == ("False", "UnknownJob")
    assert told(Facts(observed(), lock(MASTER), problem=problem), Kind.READY) == ("True", "Elected")
    assert told(Facts(observed(), None, problem=problem), Kind.READY) == ("False", "UnknownJob")


def test_without_the_database_the_master_that_stopped_says_so() -> None:
    before = project(ELECTED, THEN)
    facts = Facts(observed(before), None, "no answer", doing=Doing(5, Phase.STOPPED))
    status = project(facts, NOW)
    assert may_be_told(facts)
    assert told(facts, Kind.READY) == ("Unknown", "DatabaseUnavailable")
    assert told(facts, Kind.JOB_RUNNING) == ("False", "NotElected")
    assert "master" not in status
    assert status["term"] == 5
    assert status["observedGeneration"] == 1


def test_an_instance_that_alone_lost_the_database_says_so_only_where_nothing_was_said_yet() -> None:
    for before in (project(ELECTED, THEN), project(VACANT, THEN), project(DISABLED, THEN)):
        assert not may_be_told(Facts(observed(before), None, "no answer"))
    assert may_be_told(Facts(observed(), None, "no answer"))


def test_what_a_driver_says_of_the_database_is_not_told_to_everybody() -> None:
    one = Facts(observed(), None, "connection to 10.0.0.7 refused for user app")
    other = Facts(observed(), None, "timeout")
    assert project(one, NOW) == project(other, NOW)


def test_a_database_with_a_lower_term_is_behind() -> None:
    assert is_behind(Facts(observed(project(ELECTED, THEN)), lock(term=4)))
    assert is_behind(Facts(observed(project(ELECTED, THEN)), None))
    assert not is_behind(Facts(observed(project(ELECTED, THEN)), lock(term=5)))
    assert not is_behind(Facts(observed(project(ELECTED, THEN)), None, "no answer"))


def test_an_election_is_told_by_the_new_master_itself_for_a_moment() -> None:
    another = Facts(observed(), lock(MASTER))
    assert is_for_its_master(another, THEN + timedelta(seconds=1))
    assert not is_for_its_master(another, NOW)
    assert not is_for_its_master(another, THEN - timedelta(hours=1)), "our clock is slow, and nothing is known"
    assert not is_for_its_master(ELECTED, THEN)
    assert not is_for_its_master(VACANT, THEN)


def test_a_generation_is_observed_once_its_switch_is_in_the_database() -> None:
    def generation(settled: int, before: int) -> int:
        status = {"observedGeneration": before} if before else {}
        found = project(Facts(observed(status, generation=3), lock(), settled=settled), NOW)["observedGeneration"]
        return int(found)

    assert generation(settled=0, before=0) == 0
    assert generation(settled=2, before=0) == 2
    assert generation(settled=3, before=2) == 3
    assert generation(settled=0, before=3) == 3


def test_a_disable_that_the_database_does_not_have_is_no_good_state() -> None:
    overlooked = Facts(observed(enabled=False), lock(MASTER), doing=Doing(5, Phase.RUNNING))
    assert overlooked.overlooked
    assert told(overlooked, Kind.READY) == ("False", "Stopping")
    assert told(overlooked, Kind.ENABLED) == ("False", "DisabledBySpec")
    assert of_status(observed(project(ELECTED, THEN)), project(overlooked, NOW)) == []
    assert not DISABLED.overlooked
    assert not ELECTED.overlooked


def test_a_disable_is_an_event_once_the_database_has_it_however_it_was_told_before() -> None:
    overlooked = Facts(observed(enabled=False), lock(MASTER), doing=Doing(5, Phase.RUNNING))
    (event,) = of_status(observed(project(overlooked, THEN)), project(DISABLED, NOW))
    assert event.reason == "Disabled"
    assert of_status(observed(project(DISABLED, THEN)), project(DISABLED, NOW)) == []


def test_a_reason_of_another_version_is_left_behind() -> None:
    before = project(ELECTED, NOW)
    for condition in before["conditions"]:
        condition["reason"] = "Rehearsing"
    facts = Facts(observed(before), lock(MASTER))
    assert told(facts, Kind.JOB_RUNNING) == ("Unknown", "NotReported")


def test_a_job_whose_start_failed_elsewhere_is_not_unknown() -> None:
    failed = project(Facts(observed(), lock(), doing=Doing(5, Phase.FAILED, "start failed: no route")), NOW)
    here = Facts(observed(failed), lock(), problem=Problem(Reason.UNKNOWN_JOB, "no job 'x' is known here"))
    assert told(here, Kind.READY) == ("False", "Vacant")
    assert told(here, Kind.STALLED) == ("absent", "absent")


def test_every_condition_has_a_closed_list_of_reasons() -> None:
    with pytest.raises(ValueError, match="Conflict is no reason of JobRunning"):
        Condition(Kind.JOB_RUNNING, "True", Reason.CONFLICT, "")
    assert set(REASONS) == set(Kind)
