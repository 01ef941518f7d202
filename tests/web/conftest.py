"""The control API on a free port, on SQLite or on a fake lock admin; and its HTTP client."""

import http.client
import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlencode

import pytest

from masterjob.availability.report import AvailabilityReport
from masterjob.election.runner import ElectionRunner
from masterjob.election.values import Identity, NewSession
from masterjob.lock_status import HistoryEvent, LockStatus
from masterjob.store.database import Database
from masterjob.web.app import ApplicationComponents
from masterjob.web.config import ListenConfig
from masterjob.web.health import Health
from masterjob.web.interfaces import Authenticator, LockOperations, ReadinessCheck
from masterjob.web.metrics.observer import Metrics
from masterjob.web.server import Server, start_server
from tests.timeouts import WAIT_TIMEOUT

LOCK_NAME = "JOB-SCHEDULER"
DISABLE_PATH, ENABLE_PATH = "/api/MasterControls/disable", "/api/MasterControls/enable"


@dataclass
class HttpAnswer:
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
class ApiClient:
    """Sends exactly the given requests."""

    port: int
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> HttpAnswer:
        if self.tls is not None:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self.host, self.port, timeout=WAIT_TIMEOUT, context=self.tls
            )
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=WAIT_TIMEOUT)
        all_headers = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, all_headers)
            answer = connection.getresponse()
            return HttpAnswer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> HttpAnswer:
        return self.request("GET", path, None, **headers)

    def post_form(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> HttpAnswer:
        content_type = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", path, urlencode(fields).encode(), **(content_type | (headers or {})))

    def post_json(self, path: str, payload: object, **headers: str) -> HttpAnswer:
        return self.request(
            "POST", path, json.dumps(payload).encode(), **{"Content-Type": "application/json"} | headers
        )


def fake_runner(
    lag: float = 0.0,
    trust_left: float | None = None,
    unavailable_reason: str | None = None,
    is_closed: bool = False,
) -> ElectionRunner:
    """Return what health and metrics read of a runner."""
    runner = SimpleNamespace(
        identity=Identity("me"),
        lag=lag,
        trust_left=trust_left,
        unavailable_reason=unavailable_reason,
        is_closed=is_closed,
    )
    return cast("ElectionRunner", runner)


class HangingLockAdmin:
    """A lock admin whose database answers only after ``proceed``."""

    def __init__(self) -> None:
        self.proceed = threading.Event()
        self.call_started = threading.Semaphore(0)
        self.call_count = 0

    def _hang(self) -> None:
        self.call_count += 1
        self.call_started.release()
        assert self.proceed.wait(WAIT_TIMEOUT)

    def disable(self, lock_name: str, reason: str, actor: str, source: str = "api", until: Any = None) -> bool:
        self._hang()
        return True

    def enable(self, lock_name: str, actor: str, source: str = "api") -> bool:
        self._hang()
        return True

    def explain_unknown(self, lock_name: str) -> str:
        return ""

    def forget(self, lock_name: str) -> str | None:
        self._hang()
        return None

    def step_down(self, lock_name: str, actor: str, reason: str) -> bool:
        self._hang()
        return True

    def status(self, lock_name: str | None = None) -> list[LockStatus]:
        self._hang()
        return [LockStatus(lock_name or LOCK_NAME, enabled=True, disabled=None, master=None, term=0)]

    def status_page(self, after: str, limit: int, *, only_disabled: bool = False) -> list[LockStatus]:
        return self.status()

    def status_of(self, lock_names: Iterable[str]) -> dict[str, LockStatus]:
        self._hang()
        return {name: LockStatus(name, enabled=True, disabled=None, master=None, term=0) for name in lock_names}

    def report(self, since: timedelta, lock_name: str | None = None) -> list[AvailabilityReport]:
        self._hang()
        return []

    def history(self, lock_name: str, limit: int = 100) -> list[HistoryEvent]:
        self._hang()
        return [HistoryEvent(datetime.now(UTC), lock_name, 1, "elected", "me", None, "me became master")]


@dataclass
class RunningApi:
    """A server with its parts."""

    server: Server
    metrics: Metrics
    runners: list[ElectionRunner]
    client: ApiClient


ServeApi = Callable[..., RunningApi]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'masterjob.sqlite3'}")
    database.prepare()
    return database


@pytest.fixture
def lock_admin(database: Database) -> LockOperations:
    return database.lock_admin()


@pytest.fixture
def serve(lock_admin: LockOperations) -> Iterator[ServeApi]:
    servers: list[Server] = []

    def start_api(
        custom_lock_admin: LockOperations | None = None,
        checks: tuple[ReadinessCheck, ...] = (),
        authenticator: Authenticator | None = None,
        summarize_jobs: Callable[[], str] = str,
        **listen_options: Any,
    ) -> RunningApi:
        runners: list[ElectionRunner] = []
        metrics = Metrics(lambda: runners)
        components = ApplicationComponents(
            lock_admin if custom_lock_admin is None else custom_lock_admin,
            Health(lambda: runners, checks, summarize_jobs),
            metrics,
        )
        server = start_server(ListenConfig(**{"port": 0} | listen_options), components, authenticator)
        servers.append(server)
        assert server.wait_for_bind_attempt(WAIT_TIMEOUT)
        port = server.port if server.port is not None else server.probe_port
        return RunningApi(server, metrics, runners, ApiClient(port or 0))

    yield start_api
    for server in servers:
        server.close()


@pytest.fixture
def client(serve: ServeApi) -> ApiClient:
    return serve().client


@pytest.fixture
def elect(database: Database) -> Callable[..., None]:
    """Elect a master."""

    def elect_master(lock_name: str = LOCK_NAME) -> None:
        store = database.connect(10)
        store.ensure_locks([lock_name])
        store.open_session(NewSession(f"session of {lock_name}", Identity("a-host-1-2", address="a-host"), 60_000))
        store.claim(f"session of {lock_name}", [lock_name])
        store.close()

    return elect_master
