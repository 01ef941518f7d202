"""Each command calls its operation of the store with its own values."""

from typing import Any, cast

import pytest

from masterjob.election.core.commands import (
    CONTROL_CONNECTION,
    Claim,
    CloseSession,
    EnsureLocks,
    Evict,
    ListSessions,
    ListVacancies,
    Move,
    OpenSession,
    ReadHeldTerms,
    ReadInventory,
    Release,
    Renew,
    StoreCommand,
)
from masterjob.election.core.liveness import WatchedSession
from masterjob.election.core.quarantine import EndQuarantine
from masterjob.election.core.session import HeartbeatConnection
from masterjob.election.history_writer import AppendHistory, AppendMissingHistory
from masterjob.election.ports import Store
from masterjob.election.values import (
    HistoryEntry,
    Identity,
    Incarnation,
    Inventory,
    NewSession,
    SessionRow,
    Term,
    TransitionKind,
)

HEARTBEATS = HeartbeatConnection("s", 1.5)
TERM = Term("a", 7)
WATCHED = WatchedSession(SessionRow("rival/1", "rival", 3, 0, 1000), 0.0, 0.0, 0.0)
ENTRY = HistoryEntry("a", 7, TransitionKind.ELECTED, "me became master of a")
DATABASE = Incarnation("7/2", 1_700_000_000_000)
NEW_SESSION = NewSession("s", Identity("me"), 1000)


class RecordingStore:
    """Records every call: its name and arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object, object]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


@pytest.mark.parametrize(
    ("command", "name", "args", "kwargs"),
    [
        (OpenSession(0.0, HEARTBEATS, NEW_SESSION), "open_session", (NEW_SESSION,), {}),
        (Renew(0.0, HEARTBEATS, "s", "me", Inventory(0, 0)), "renew", ("s", "me"), {}),
        (CloseSession(0.0, HEARTBEATS, "s"), "close_session", ("s",), {}),
        (ReadInventory(0.0, "me", Inventory(0, 0)), "read_inventory", ("me",), {}),
        (ReadHeldTerms(0.0, "me"), "list_held_terms", ("me",), {}),
        (ListSessions(0.0), "list_sessions", (), {}),
        (Evict(0.0, WATCHED, if_stale=True), "evict", ("rival/1", 3), {"if_stale": True, "incarnation": None}),
        (
            Evict(0.0, WATCHED, False, DATABASE),
            "evict",
            ("rival/1", 3),
            {"if_stale": False, "incarnation": DATABASE},
        ),
        (EndQuarantine(0.0, DATABASE), "end_quarantine", (DATABASE,), {}),
        (EnsureLocks(0.0, ("a", "b")), "ensure_locks", (("a", "b"),), {}),
        (ListVacancies(0.0, ignore_fair_share=True), "list_vacancies", (), {}),
        (Claim(0.0, "s", ("a",)), "claim", ("s", ("a",)), {}),
        (Move(0.0, TERM, "old", "new"), "move", (TERM, "old", "new"), {}),
        (Release(0.0, ("s",), (TERM,)), "release", (("s",), (TERM,)), {}),
        (AppendHistory(0.0, (ENTRY,)), "append_history", ((ENTRY,),), {}),
        (AppendMissingHistory(0.0, (ENTRY,)), "append_missing_history", ((ENTRY,),), {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, StoreCommand) else None,
)
def test_a_command_is_one_call_of_the_store(
    command: StoreCommand[object], name: str, args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    store = RecordingStore()
    command.execute(cast("Store", store))
    assert store.calls == [(name, args, kwargs)]
    is_heartbeat = isinstance(command, OpenSession | Renew | CloseSession)
    assert command.connection_name == ("s" if is_heartbeat else CONTROL_CONNECTION)
    assert command.timeout == (1.5 if is_heartbeat else 5.0)
