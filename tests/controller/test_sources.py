"""Who speaks for a lock, and when the switch of one who does no more may be taken back; on virtual time."""

import pytest

from masterjob.controller import sources
from masterjob.controller.sources import LAST_WORD, Sources
from masterjob.resource.resource import Origin, Resource


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sources, "clock", clock)
    return clock


def resource(name: str, created: str = "2026-01-01T00:00:00Z", *, enabled: bool = True) -> Resource:
    return Resource(name=name, lock_name="LOCK", job="job", enabled=enabled, origin=Origin("here", 1, created))


def speaking(who: Sources) -> list[str]:
    return [source for source, _ in who.of("LOCK")]


def test_of_two_the_older_counts_whichever_came_first() -> None:
    who = Sources()
    assert who.put("uid-b", resource("b", "2026-01-02T00:00:00Z"))
    assert who.put("uid-a", resource("a", "2026-01-01T00:00:00Z"))
    assert speaking(who) == ["uid-a", "uid-b"]


def test_of_two_of_one_age_all_instances_agree() -> None:
    one, other = Sources(), Sources()
    for who, order in ((one, "ab"), (other, "ba")):
        for each in order:
            who.put(f"uid-{each}", resource(each))
    assert speaking(one) == speaking(other) == ["uid-a", "uid-b"]


def test_what_was_said_before_is_no_news() -> None:
    who = Sources()
    assert who.put("uid", resource("a"))
    assert not who.put("uid", resource("a"))
    assert who.put("uid", resource("a", enabled=False))


def test_an_enabled_one_that_leaves_is_dealt_with_at_once(clock: Clock) -> None:
    who = Sources()
    who.put("uid", resource("a"))
    assert who.drop("uid") == "LOCK"
    assert who.to_take_back("LOCK") == ["uid"]
    assert who.taken_back("LOCK", ["uid"]) is None
    assert who.names() == []


def test_a_disable_stays_for_those_who_have_not_heard_yet(clock: Clock) -> None:
    who = Sources()
    who.put("uid", resource("a", enabled=False))
    who.drop("uid")
    clock.now = 1.0
    assert who.to_take_back("LOCK") == []
    assert who.taken_back("LOCK", []) == LAST_WORD - 1.0
    clock.now = LAST_WORD
    assert who.to_take_back("LOCK") == ["uid"]


def test_a_disable_that_was_left_goes_as_soon_as_another_speaks(clock: Clock) -> None:
    who = Sources()
    who.put("uid", resource("a", enabled=False))
    who.drop("uid")
    who.put("uid-b", resource("b"))
    assert who.to_take_back("LOCK") == ["uid"]


def test_who_speaks_again_has_nothing_taken_back(clock: Clock) -> None:
    who = Sources()
    who.put("uid", resource("a"))
    who.drop("uid")
    who.put("uid", resource("a"))
    assert who.to_take_back("LOCK") == []
    assert not who.bury("LOCK", "uid")
    assert who.taken_back("LOCK", []) is None
    assert who.names() == ["LOCK"]


def test_who_went_while_nobody_was_there_is_taken_back(clock: Clock) -> None:
    who = Sources()
    assert who.bury("LOCK", "long-gone")
    assert who.to_take_back("LOCK") == ["long-gone"]
