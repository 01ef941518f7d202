"""What is sent to the history, and sent again once the database answers."""

import pytest

from masterjob.election.core.actions import RecordTransition
from masterjob.election.core.commands import ListSessions
from masterjob.election.core.events import CoreEvent, Failure, Reply, Tick
from masterjob.election.history_writer import (
    MAX_BATCH_SIZE,
    MAX_KEPT_ENTRIES,
    AppendHistory,
    AppendMissingHistory,
    HistoryWriter,
)
from masterjob.election.values import HistoryEntry, SessionList, TransitionKind

ANSWER = Reply(ListSessions(1.0), SessionList(0, ()))


def entry(number: int = 1) -> HistoryEntry:
    return HistoryEntry("job", number, TransitionKind.ELECTED, "elected")


@pytest.fixture
def writer() -> HistoryWriter:
    return HistoryWriter()


def send(writer: HistoryWriter, event: CoreEvent, *entries: HistoryEntry) -> list[AppendHistory]:
    return list(writer.commands_for(event, [RecordTransition(each) for each in entries], 10.0))


def fail_to_write(writer: HistoryWriter, count: int) -> None:
    for number in range(count):
        send(writer, Failure(AppendHistory(1.0, (entry(number),)), "gone"))


def test_a_transition_is_sent_at_once(writer: HistoryWriter) -> None:
    (command,) = send(writer, Tick(), entry())
    assert command.entries == (entry(),)
    assert send(writer, Reply(command, None)) == []


def test_what_could_not_be_written_is_sent_again_when_the_database_answers(writer: HistoryWriter) -> None:
    fail_to_write(writer, 2)
    assert send(writer, Failure(ListSessions(1.0), "gone")) == []
    (again,) = send(writer, ANSWER)
    assert isinstance(again, AppendMissingHistory)
    assert again.entries == (entry(0), entry(1))
    assert send(writer, Reply(again, None)) == []


def test_one_attempt_is_made_at_a_time_until_one_succeeds(writer: HistoryWriter) -> None:
    fail_to_write(writer, 1)
    (again,) = send(writer, ANSWER)
    assert send(writer, ANSWER) == []
    assert send(writer, Failure(again, "gone")) == []
    (third,) = send(writer, ANSWER)
    assert third.entries == again.entries


def test_an_entry_that_always_fails_blocks_no_other(writer: HistoryWriter) -> None:
    fail_to_write(writer, MAX_BATCH_SIZE + 1)
    (first,) = send(writer, ANSWER)
    send(writer, Failure(first, "gone"))
    (second,) = send(writer, ANSWER)
    assert second.entries[0] == entry(MAX_BATCH_SIZE)


def test_of_too_many_entries_the_oldest_are_lost(writer: HistoryWriter) -> None:
    fail_to_write(writer, MAX_KEPT_ENTRIES + 5)
    (again,) = send(writer, ANSWER)
    assert again.entries[0] == entry(5)
