"""Who may call: each mode with good, bad, expired and missing tokens, and the actor in the history."""

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from masterjob.errors import SettingError
from masterjob.web.access.limits import RateLimiter, TtlCache
from masterjob.web.access.tokens import TokenFile
from masterjob.web.config import AuthMode, ListenConfig
from masterjob.web.interfaces import Actor, LockOperations, Verb
from tests.timeouts import WAIT_TIMEOUT
from tests.web.conftest import DISABLE_PATH, LOCK_NAME, ApiClient, ServeApi

READ_TOKEN, WRITE_TOKEN, EXPIRED_TOKEN = "r" * 32, "w" * 32, "o" * 32
LOCKS_PATH = "/api/MasterLocks"
PUBLIC_PATHS = ("/explorer", "/api/openapi.json", "/explorer/begin.js")
PROTECTED_PATHS = (
    LOCKS_PATH,
    "/api/MasterControls",
    f"{LOCKS_PATH}/{LOCK_NAME}",
    f"{LOCKS_PATH}/{LOCK_NAME}/history",
    "/metrics",
    "/healthz",
    "/readyz",
)


def bearer_header(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def write_token_file(path: Path, *lines: str) -> Path:
    """Replace the file atomically, as for mounted Secrets."""
    new = path.with_suffix(".new")
    new.write_text("\n".join(["tokens:", *lines]))
    return new.rename(path)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    digest = hashlib.sha256(WRITE_TOKEN.encode()).hexdigest()
    return write_token_file(
        tmp_path / "tokens.yaml",
        f"  - {{name: grafana, role: read, token: {READ_TOKEN}}}",
        f"  - {{name: ann, role: write, sha256: {digest}, expires: 2999-01-01T00:00:00Z}}",
        f"  - {{name: old, role: write, token: {EXPIRED_TOKEN}, expires: 2020-01-01T00:00:00Z}}",
    )


# --- loopback and none


def test_on_this_machine_no_token_is_needed(client: ApiClient, lock_admin: LockOperations) -> None:
    assert client.post_form(DISABLE_PATH, lockName=LOCK_NAME, reason="x").status == 200
    assert all(client.get(path).status == 200 for path in (*PROTECTED_PATHS, *PUBLIC_PATHS))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org", ""])
def test_if_others_can_reach_it_an_auth_mode_is_required(host: str) -> None:
    with pytest.raises(SettingError, match="auth token, auth kubernetes or an explicit auth none"):
        ListenConfig(host=host)
    assert ListenConfig(host=host, auth=AuthMode.NONE).host == host


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Real-IP"])
def test_a_request_that_a_proxy_on_this_machine_forwards_is_not_from_this_machine(
    name: str, client: ApiClient
) -> None:
    assert client.get(LOCKS_PATH, **{name: "10.0.0.1"}).status == 403


def test_with_auth_none_everyone_may_and_the_address_is_the_name(
    serve: ServeApi, lock_admin: LockOperations
) -> None:
    client = serve(host="0.0.0.0", auth=AuthMode.NONE).client
    assert client.post_form(DISABLE_PATH, lockName=LOCK_NAME, reason="x").status == 200
    assert lock_admin.history(LOCK_NAME)[0].actor == "127.0.0.1"


# --- token


def test_a_token_with_the_role_switches_under_its_name(
    serve: ServeApi, lock_admin: LockOperations, tokens: Path
) -> None:
    client = serve(auth=AuthMode.TOKEN, tokens=tokens).client
    assert client.post_form(DISABLE_PATH, bearer_header(WRITE_TOKEN), lockName=LOCK_NAME, reason="x").status == 200
    assert lock_admin.history(LOCK_NAME)[0].actor == "ann"
    assert all(client.get(path, **bearer_header(READ_TOKEN)).status == 200 for path in PROTECTED_PATHS)


def test_a_token_to_read_does_not_switch(serve: ServeApi, lock_admin: LockOperations, tokens: Path) -> None:
    client = serve(auth=AuthMode.TOKEN, tokens=tokens).client
    answer = client.post_form(DISABLE_PATH, bearer_header(READ_TOKEN), lockName=LOCK_NAME, reason="x")
    assert (answer.status, answer.message) == (403, f"grafana may not switch {LOCK_NAME}")
    assert lock_admin.status() == []


@pytest.mark.parametrize(
    "header",
    [
        {},
        bearer_header("b" * 32),
        bearer_header(EXPIRED_TOKEN),
        bearer_header(""),
        {"Authorization": f"Basic {WRITE_TOKEN}"},
        bearer_header("é" * 20),
    ],
)
def test_without_a_token_or_with_a_bad_or_an_expired_one_nothing_is_answered(
    header: dict[str, str], serve: ServeApi, lock_admin: LockOperations, tokens: Path
) -> None:
    client = serve(auth=AuthMode.TOKEN, tokens=tokens).client
    assert client.post_form(DISABLE_PATH, header, lockName=LOCK_NAME, reason="x").status == 401
    answer = client.get(LOCKS_PATH, **header)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert all(client.get(path, **header).status == 401 for path in PROTECTED_PATHS)
    assert all(client.get(path, **header).status == 200 for path in PUBLIC_PATHS)
    assert lock_admin.status() == []


def test_the_file_is_read_again_when_it_changes(tokens: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokens_in_force = TokenFile(tokens)
    assert tokens_in_force.authenticate(READ_TOKEN) is not None
    write_token_file(tokens, f"  - {{name: bob, role: write, token: {'n' * 32}}}")
    assert tokens_in_force.authenticate(READ_TOKEN) is None
    actor = tokens_in_force.authenticate("n" * 32)
    assert actor is not None
    assert (actor.name, tokens_in_force.allowed(actor, Verb.SWITCH, LOCK_NAME)) == ("bob", True)


def test_a_file_that_is_not_valid_accepts_no_token_until_it_is_fixed(
    tokens: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens_in_force = TokenFile(tokens)
    write_token_file(tokens, f"  - {{name: grafana, role: reader, token: {READ_TOKEN}}}")
    assert tokens_in_force.authenticate(READ_TOKEN) is None
    assert "line 2: tokens[0].role must be read or write" in caplog.text
    assert READ_TOKEN not in caplog.text
    tokens.unlink()
    assert tokens_in_force.authenticate(READ_TOKEN) is None
    write_token_file(tokens, f"  - {{name: grafana, role: read, token: {READ_TOKEN}}}")
    assert tokens_in_force.authenticate(READ_TOKEN) is not None


def test_a_token_ends_at_its_time(tmp_path: Path) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    path = write_token_file(
        tmp_path / "t.yaml", f"  - {{name: a, role: read, token: {READ_TOKEN}, expires: 2030-01-01T00:00:01Z}}"
    )
    clock = [now]
    tokens_in_force = TokenFile(path, lambda: clock[0])
    assert tokens_in_force.authenticate(READ_TOKEN) is not None
    clock[0] += timedelta(seconds=1)
    assert tokens_in_force.authenticate(READ_TOKEN) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"  - {{role: read, token: {READ_TOKEN}}}", "name is missing"),
        (f"  - {{name: a, token: {READ_TOKEN}}}", "role is missing"),
        ("  - {name: a, role: read}", "must have either token or sha256"),
        (f"  - {{name: a, role: read, token: {READ_TOKEN}, sha256: ab}}", "must have either token or sha256"),
        ("  - {name: a, role: read, token: short}", "at least 16 ASCII characters"),
        ("  - {name: a, role: read, sha256: abcd}", "64 hexadecimal digits"),
        (f"  - {{name: a, role: read, tokn: {READ_TOKEN}}}", "is not known: did you mean token"),
        (
            f"  - {{name: a, role: read, token: {READ_TOKEN}, expires: 2030-01-01}}",
            "must be a time in RFC 3339, such as",
        ),
        (
            f"  - {{name: a, role: read, token: {READ_TOKEN}}}\n  - {{name: b, role: read, token: {READ_TOKEN}}}",
            "of another entry",
        ),
        ("  - a", "must hold names and values: use one of name, role, token"),
    ],
)
def test_a_wrong_file_is_refused_at_the_start_with_its_line(line: str, message: str, tmp_path: Path) -> None:
    path = write_token_file(tmp_path / "t.yaml", line)
    with pytest.raises(SettingError, match=message) as error:
        TokenFile(path)
    assert READ_TOKEN not in str(error.value)
    assert "line" in str(error.value)


def test_a_file_that_is_not_there_or_holds_something_else_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        TokenFile(tmp_path / "nothing.yaml")
    (tmp_path / "t.yaml").write_text("a: 1")
    with pytest.raises(SettingError, match="a is not known: use one of tokens"):
        TokenFile(tmp_path / "t.yaml")


# --- kubernetes, with a fake cluster


class FakeAuthenticator:
    """Reviews tokens like a cluster."""

    def __init__(self) -> None:
        self.users = {"ann-token": Actor("ann", ("admins",)), "bob-token": Actor("system:serviceaccount:a:bob")}
        self.allowed_actions = {
            ("ann", Verb.READ, LOCK_NAME),
            ("ann", Verb.SWITCH, LOCK_NAME),
            ("ann", Verb.READ, None),
        }
        self.allowed_actions |= {("system:serviceaccount:a:bob", Verb.READ, LOCK_NAME)}
        self.unreachable = False
        self.reviews = 0

    def authenticate(self, token: str) -> Actor | None:
        self.reviews += 1
        if self.unreachable:
            raise OSError("connection refused to https://10.0.0.1:443")
        return self.users.get(token)

    def allowed(self, actor: Actor, verb: Verb, lock_name: str | None) -> bool:
        self.reviews += 1
        if self.unreachable:
            raise OSError("connection refused to https://10.0.0.1:443")
        return (actor.name, verb, lock_name) in self.allowed_actions


def test_the_cluster_authenticates_and_authorizes(serve: ServeApi, lock_admin: LockOperations) -> None:
    client = serve(auth=AuthMode.KUBERNETES, authenticator=FakeAuthenticator()).client
    assert client.post_form(DISABLE_PATH, bearer_header("ann-token"), lockName=LOCK_NAME, reason="x").status == 200
    assert lock_admin.history(LOCK_NAME)[0].actor == "ann"
    assert client.get(LOCKS_PATH, **bearer_header("ann-token")).status == 200
    assert client.get(f"{LOCKS_PATH}/{LOCK_NAME}", **bearer_header("bob-token")).status == 200
    assert client.get(LOCKS_PATH, **bearer_header("bob-token")).status == 403
    refused = client.post_form("/api/MasterControls/enable", bearer_header("bob-token"), lockName=LOCK_NAME)
    assert (refused.status, refused.message) == (403, f"system:serviceaccount:a:bob may not switch {LOCK_NAME}")
    assert not lock_admin.status(LOCK_NAME)[0].enabled


def test_the_clusters_users_need_a_token_on_this_machine_too(serve: ServeApi, lock_admin: LockOperations) -> None:
    client = serve(auth=AuthMode.KUBERNETES, authenticator=FakeAuthenticator()).client
    assert client.get(LOCKS_PATH).status == 401
    assert client.post_form(DISABLE_PATH, bearer_header("expired"), lockName=LOCK_NAME, reason="x").status == 401
    assert lock_admin.status() == []


def test_a_cluster_that_does_not_answer_denies(
    serve: ServeApi, lock_admin: LockOperations, caplog: pytest.LogCaptureFixture
) -> None:
    authenticator = FakeAuthenticator()
    authenticator.unreachable = True
    client = serve(auth=AuthMode.KUBERNETES, authenticator=authenticator).client
    answer = client.post_form(DISABLE_PATH, bearer_header("ann-token"), lockName=LOCK_NAME, reason="x")
    assert (answer.status, answer.message) == (503, "your access cannot be checked at the moment: try again")
    assert lock_admin.status() == []
    authenticator.unreachable = False
    assert client.post_form(DISABLE_PATH, bearer_header("ann-token"), lockName=LOCK_NAME, reason="x").status == 200


def test_an_answer_of_the_cluster_is_reused_for_seconds(serve: ServeApi) -> None:
    authenticator = FakeAuthenticator()
    client = serve(auth=AuthMode.KUBERNETES, authenticator=authenticator).client
    for _ in range(20):
        assert client.get(LOCKS_PATH, **bearer_header("ann-token")).status == 200
    assert authenticator.reviews == 2


def test_cached_answers_expire_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    cache: TtlCache[int] = TtlCache(5.0, lambda: now[0])
    monkeypatch.setattr(TtlCache, "MAX_ENTRIES", 3)
    for number in range(4):
        cache.insert(number, number)
    assert [cache.get(number) for number in range(4)] == [None, (1,), (2,), (3,)]
    now[0] = 5.0
    assert cache.get(3) is None


def test_many_bad_tokens_from_one_address_are_rate_limited_and_other_requests_are_not(
    serve: ServeApi, tokens: Path
) -> None:
    client = serve(auth=AuthMode.TOKEN, tokens=tokens).client
    statuses = {
        client.get(LOCKS_PATH, **bearer_header(f"guess number {number:09}")).status for number in range(120)
    }
    assert statuses == {401, 429}
    other = ApiClient(client.port, "127.0.0.1")
    assert other.get("/explorer").status == 200


def test_a_bucket_fills_at_its_rate() -> None:
    now = [0.0]
    limiter = RateLimiter(2.0, burst=3.0, now=lambda: now[0])
    assert [limiter.try_acquire("a") for _ in range(4)] == [True, True, True, False]
    assert limiter.try_acquire("b")
    now[0] = 0.5
    assert [limiter.try_acquire("a") for _ in range(2)] == [True, False]
    assert not limiter.has_capacity("a")


def test_kubernetes_without_a_cluster_is_refused(serve: ServeApi) -> None:
    with pytest.raises(SettingError, match="masterjob operator"):
        serve(auth=AuthMode.KUBERNETES)


def test_concurrent_requests_share_one_token_review(serve: ServeApi) -> None:
    class SlowAuthenticator(FakeAuthenticator):
        def __init__(self) -> None:
            super().__init__()
            self.review_started, self.proceed = threading.Semaphore(0), threading.Event()

        def authenticate(self, token: str) -> Actor | None:
            self.review_started.release()
            assert self.proceed.wait(WAIT_TIMEOUT)
            return super().authenticate(token)

    authenticator = SlowAuthenticator()
    client = serve(auth=AuthMode.KUBERNETES, authenticator=authenticator).client
    statuses: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(client.get(LOCKS_PATH, **bearer_header("ann-token")).status)
        )
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    assert authenticator.review_started.acquire(timeout=WAIT_TIMEOUT)
    assert client.get("/explorer").status == 200  # nothing else waits for the cluster
    authenticator.proceed.set()
    for thread in threads:
        thread.join(WAIT_TIMEOUT)
    assert statuses == [200] * 10
    # One that was running, one for the requests that came meanwhile; and the same for their permission.
    assert authenticator.reviews <= 4
