"""The control API on a port of its own, on SQLite or on a board that does as it is told; and who speaks to it."""

import http.client
import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from masterjob.election.values import Identity, NewSession
from masterjob.election.views import Event, LockStatus
from masterjob.store.database import Database
from masterjob.web.app import Parts
from masterjob.web.health import Health
from masterjob.web.metrics.observer import Metrics
from masterjob.web.options import Listening
from masterjob.web.ports import Authenticator, Board, Check, Member
from masterjob.web.server import Server, start

PATIENCE = 30.0
LOCK = "JOB-SCHEDULER"
DISABLE, ENABLE = "/api/MasterControls/disable", "/api/MasterControls/enable"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        assert set(self.json["error"]) == {"statusCode", "name", "message"}
        assert self.json["error"]["statusCode"] == self.status
        return str(self.json["error"]["message"])


@dataclass
class Client:
    """Says exactly what it is told to."""

    port: int
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        if self.tls is not None:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self.host, self.port, timeout=PATIENCE, context=self.tls
            )
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        said = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, said)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, **headers)

    def form(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> Answer:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, urlencode(fields).encode(), **(kind | (headers or {})))

    def json(self, path: str, said: object, **headers: str) -> Answer:
        return self.ask("POST", path, json.dumps(said).encode(), **{"Content-Type": "application/json"} | headers)


@dataclass
class Patient:
    """An instance as healthy as it is told to be."""

    late: float = 0.0
    trust_left: float | None = None
    trouble: str | None = None
    over: bool = False


class HungBoard:
    """A board whose database does not answer until it is let go."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.asked = threading.Semaphore(0)
        self.calls = 0

    def _hang(self) -> None:
        self.calls += 1
        self.asked.release()
        assert self.go_on.wait(PATIENCE)

    def disable(self, lock_name: str, reason: str, actor: str, source: str = "api", until: Any = None) -> bool:
        self._hang()
        return True

    def enable(self, lock_name: str, actor: str, source: str = "api") -> bool:
        self._hang()
        return True

    def step_down(self, lock_name: str, actor: str, reason: str) -> bool:
        self._hang()
        return True

    def status(self, lock_name: str | None = None) -> list[LockStatus]:
        self._hang()
        return [LockStatus(lock_name or LOCK, enabled=True, disabled=None, master=None, term=0)]

    def status_of(self, lock_names: Iterable[str]) -> dict[str, LockStatus]:
        self._hang()
        return {name: LockStatus(name, enabled=True, disabled=None, master=None, term=0) for name in lock_names}

    def history(self, lock_name: str, limit: int = 100) -> list[Event]:
        self._hang()
        return [Event(datetime.now(UTC), lock_name, 1, "elected", "me", None, "me became master")]


@dataclass
class Served:
    """A server, and all that it was handed."""

    server: Server
    metrics: Metrics
    members: list[Member]
    client: Client


Serve = Callable[..., Served]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'masterjob.sqlite3'}")
    database.prepare()
    return database


@pytest.fixture
def board(database: Database) -> Board:
    return database.switchboard()


@pytest.fixture
def serve(board: Board) -> Iterator[Serve]:
    started: list[Server] = []

    def serve(
        other: Board | None = None,
        checks: tuple[Check, ...] = (),
        authenticator: Authenticator | None = None,
        **listening: Any,
    ) -> Served:
        members: list[Member] = []
        metrics = Metrics(lambda: members)
        parts = Parts(board if other is None else other, Health(lambda: members, checks), metrics)
        server = start(Listening(**{"port": 0} | listening), parts, authenticator)
        started.append(server)
        assert server.wait_tried(PATIENCE)
        port = server.port if server.port is not None else server.probe_port
        return Served(server, metrics, members, Client(port or 0))

    yield serve
    for server in started:
        server.close()


@pytest.fixture
def client(serve: Serve) -> Client:
    return serve().client


@pytest.fixture
def elect(database: Database) -> Callable[..., None]:
    """Have somebody be master."""

    def elect(lock_name: str = LOCK) -> None:
        store = database.connect(10)
        store.ensure([lock_name])
        store.open(NewSession(f"session of {lock_name}", Identity("a-host-1-2", address="a-host"), 60_000))
        store.claim(f"session of {lock_name}", [lock_name])
        store.close()

    return elect
