"""Who may: each mode with good, bad, expired and missing tokens, and what the history says of who it was."""

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from masterjob.election.errors import SettingError
from masterjob.web.access.auth import Remembered
from masterjob.web.access.rates import Rates
from masterjob.web.access.tokens import TokenFile
from masterjob.web.options import Auth, Listening
from masterjob.web.ports import Actor, Board, Verb
from tests.web.conftest import DISABLE, LOCK, Client, Serve

READ, WRITE, OLD = "r" * 32, "w" * 32, "o" * 32
LOCKS = "/api/MasterLocks"
OPEN = ("/explorer", "/api/openapi.json", "/explorer/begin.js")
GUARDED = (
    LOCKS,
    "/api/MasterControls",
    f"{LOCKS}/{LOCK}",
    f"{LOCKS}/{LOCK}/history",
    "/metrics",
    "/healthz",
    "/readyz",
)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def token_file(path: Path, *lines: str) -> Path:
    """Put a file in place at once, as mounted secrets are."""
    new = path.with_suffix(".new")
    new.write_text("\n".join(["tokens:", *lines]))
    return new.rename(path)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    digest = hashlib.sha256(WRITE.encode()).hexdigest()
    return token_file(
        tmp_path / "tokens.yaml",
        f"  - {{name: grafana, role: read, token: {READ}}}",
        f"  - {{name: ann, role: write, sha256: {digest}, expires: 2999-01-01T00:00:00Z}}",
        f"  - {{name: old, role: write, token: {OLD}, expires: 2020-01-01T00:00:00Z}}",
    )


# --- loopback and none


def test_on_this_machine_no_token_is_needed(client: Client, board: Board) -> None:
    assert client.form(DISABLE, lockName=LOCK, reason="x").status == 200
    assert all(client.get(path).status == 200 for path in (*GUARDED, *OPEN))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org", ""])
def test_where_others_can_reach_it_somebody_has_to_say_who_may(host: str) -> None:
    with pytest.raises(SettingError, match="auth token, auth kubernetes or an explicit auth none"):
        Listening(host=host)
    assert Listening(host=host, auth=Auth.NONE).host == host


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Real-IP"])
def test_what_a_proxy_on_this_machine_passes_on_is_not_from_this_machine(name: str, client: Client) -> None:
    assert client.get(LOCKS, **{name: "10.0.0.1"}).status == 403


def test_everybody_may_where_that_was_asked_for_and_the_address_is_the_name(serve: Serve, board: Board) -> None:
    client = serve(host="0.0.0.0", auth=Auth.NONE).client
    assert client.form(DISABLE, lockName=LOCK, reason="x").status == 200
    assert board.history(LOCK)[0].actor == "127.0.0.1"


# --- token


def test_a_token_with_the_role_switches_under_its_name(serve: Serve, board: Board, tokens: Path) -> None:
    client = serve(auth=Auth.TOKEN, tokens=tokens).client
    assert client.form(DISABLE, bearer(WRITE), lockName=LOCK, reason="x").status == 200
    assert board.history(LOCK)[0].actor == "ann"
    assert all(client.get(path, **bearer(READ)).status == 200 for path in GUARDED)


def test_a_token_to_read_does_not_switch(serve: Serve, board: Board, tokens: Path) -> None:
    client = serve(auth=Auth.TOKEN, tokens=tokens).client
    answer = client.form(DISABLE, bearer(READ), lockName=LOCK, reason="x")
    assert (answer.status, answer.message) == (403, f"grafana may not switch {LOCK}")
    assert board.status() == []


@pytest.mark.parametrize(
    "header",
    [{}, bearer("b" * 32), bearer(OLD), bearer(""), {"Authorization": f"Basic {WRITE}"}, bearer("é" * 20)],
)
def test_without_a_token_or_with_a_bad_or_an_expired_one_nothing_is_told(
    header: dict[str, str], serve: Serve, board: Board, tokens: Path
) -> None:
    client = serve(auth=Auth.TOKEN, tokens=tokens).client
    assert client.form(DISABLE, header, lockName=LOCK, reason="x").status == 401
    answer = client.get(LOCKS, **header)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert all(client.get(path, **header).status == 401 for path in GUARDED)
    assert all(client.get(path, **header).status == 200 for path in OPEN)
    assert board.status() == []


def test_the_file_is_read_again_when_it_changes(tokens: Path, caplog: pytest.LogCaptureFixture) -> None:
    known = TokenFile(tokens)
    assert known.authenticate(READ) is not None
    token_file(tokens, f"  - {{name: bob, role: write, token: {'n' * 32}}}")
    assert known.authenticate(READ) is None
    found = known.authenticate("n" * 32)
    assert found is not None
    assert (found.name, known.allowed(found, Verb.SWITCH, LOCK)) == ("bob", True)


def test_a_file_that_is_wrong_lets_nobody_in_until_it_is_right(
    tokens: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = TokenFile(tokens)
    token_file(tokens, f"  - {{name: grafana, role: reader, token: {READ}}}")
    assert known.authenticate(READ) is None
    assert "line 2: tokens[0].role must be read or write" in caplog.text
    assert READ not in caplog.text
    tokens.unlink()
    assert known.authenticate(READ) is None
    token_file(tokens, f"  - {{name: grafana, role: read, token: {READ}}}")
    assert known.authenticate(READ) is not None


def test_a_token_ends_at_its_time(tmp_path: Path) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    path = token_file(
        tmp_path / "t.yaml", f"  - {{name: a, role: read, token: {READ}, expires: 2030-01-01T00:00:01Z}}"
    )
    clock = [now]
    known = TokenFile(path, lambda: clock[0])
    assert known.authenticate(READ) is not None
    clock[0] += timedelta(seconds=1)
    assert known.authenticate(READ) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"  - {{role: read, token: {READ}}}", "name must be a text"),
        (f"  - {{name: a, token: {READ}}}", "role must be read or write"),
        ("  - {name: a, role: read}", "must have either token or sha256"),
        (f"  - {{name: a, role: read, token: {READ}, sha256: ab}}", "must have either token or sha256"),
        ("  - {name: a, role: read, token: short}", "at least 16 plain characters"),
        ("  - {name: a, role: read, sha256: abcd}", "64 hexadecimal digits"),
        (f"  - {{name: a, role: read, tokn: {READ}}}", "is not known: is token meant"),
        (f"  - {{name: a, role: read, token: {READ}, expires: 2030-01-01}}", "must be a time like"),
        (
            f"  - {{name: a, role: read, token: {READ}}}\n  - {{name: b, role: read, token: {READ}}}",
            "of another one",
        ),
        ("  - a", "must hold name, role and token"),
    ],
)
def test_a_wrong_file_is_refused_at_the_start_with_its_line(line: str, words: str, tmp_path: Path) -> None:
    path = token_file(tmp_path / "t.yaml", line)
    with pytest.raises(SettingError, match=words) as error:
        TokenFile(path)
    assert READ not in str(error.value)
    assert "line" in str(error.value)


def test_a_file_that_is_not_there_or_holds_something_else_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        TokenFile(tmp_path / "nothing.yaml")
    (tmp_path / "t.yaml").write_text("a: 1")
    with pytest.raises(SettingError, match="must hold a list of tokens"):
        TokenFile(tmp_path / "t.yaml")


# --- kubernetes, with a cluster that does as it is told


class Cluster:
    """Reviews tokens as a cluster would."""

    def __init__(self) -> None:
        self.users = {"ann-token": Actor("ann", ("admins",)), "bob-token": Actor("system:serviceaccount:a:bob")}
        self.may = {("ann", Verb.READ, LOCK), ("ann", Verb.SWITCH, LOCK), ("ann", Verb.READ, None)}
        self.may |= {("system:serviceaccount:a:bob", Verb.READ, LOCK)}
        self.dead = False
        self.reviews = 0

    def authenticate(self, token: str) -> Actor | None:
        self.reviews += 1
        if self.dead:
            raise OSError("connection refused to https://10.0.0.1:443")
        return self.users.get(token)

    def allowed(self, actor: Actor, verb: Verb, lock_name: str | None) -> bool:
        self.reviews += 1
        if self.dead:
            raise OSError("connection refused to https://10.0.0.1:443")
        return (actor.name, verb, lock_name) in self.may


def test_the_cluster_says_who_somebody_is_and_what_they_may(serve: Serve, board: Board) -> None:
    client = serve(auth=Auth.KUBERNETES, authenticator=Cluster()).client
    assert client.form(DISABLE, bearer("ann-token"), lockName=LOCK, reason="x").status == 200
    assert board.history(LOCK)[0].actor == "ann"
    assert client.get(LOCKS, **bearer("ann-token")).status == 200
    assert client.get(f"{LOCKS}/{LOCK}", **bearer("bob-token")).status == 200
    assert client.get(LOCKS, **bearer("bob-token")).status == 403
    refused = client.form("/api/MasterControls/enable", bearer("bob-token"), lockName=LOCK)
    assert (refused.status, refused.message) == (403, f"system:serviceaccount:a:bob may not switch {LOCK}")
    assert not board.status(LOCK)[0].enabled


def test_the_clusters_users_need_a_token_on_this_machine_too(serve: Serve, board: Board) -> None:
    client = serve(auth=Auth.KUBERNETES, authenticator=Cluster()).client
    assert client.get(LOCKS).status == 401
    assert client.form(DISABLE, bearer("expired"), lockName=LOCK, reason="x").status == 401
    assert board.status() == []


def test_a_cluster_that_does_not_answer_denies(
    serve: Serve, board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster()
    cluster.dead = True
    client = serve(auth=Auth.KUBERNETES, authenticator=cluster).client
    answer = client.form(DISABLE, bearer("ann-token"), lockName=LOCK, reason="x")
    assert (answer.status, answer.message) == (503, "who you are cannot be found out at the moment")
    assert board.status() == []
    cluster.dead = False
    assert client.form(DISABLE, bearer("ann-token"), lockName=LOCK, reason="x").status == 200


def test_an_answer_of_the_cluster_is_believed_for_seconds(serve: Serve) -> None:
    cluster = Cluster()
    client = serve(auth=Auth.KUBERNETES, authenticator=cluster).client
    for _ in range(20):
        assert client.get(LOCKS, **bearer("ann-token")).status == 200
    assert cluster.reviews == 2


def test_what_is_believed_ends_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    memory: Remembered[int] = Remembered(5.0, lambda: now[0])
    monkeypatch.setattr(Remembered, "MOST", 3)
    for number in range(4):
        memory.put(number, number)
    assert [memory.get(number) for number in range(4)] == [None, (1,), (2,), (3,)]
    now[0] = 5.0
    assert memory.get(3) is None


def test_who_tries_many_tokens_is_told_to_wait_and_others_are_not(serve: Serve, tokens: Path) -> None:
    client = serve(auth=Auth.TOKEN, tokens=tokens).client
    seen = {client.get(LOCKS, **bearer(f"guess number {number:09}")).status for number in range(120)}
    assert seen == {401, 429}
    other = Client(client.port, "127.0.0.1")
    assert other.get("/explorer").status == 200


def test_a_bucket_fills_at_its_rate() -> None:
    now = [0.0]
    rates = Rates(2.0, burst=3.0, now=lambda: now[0])
    assert [rates.take("a") for _ in range(4)] == [True, True, True, False]
    assert rates.take("b")
    now[0] = 0.5
    assert [rates.take("a") for _ in range(2)] == [True, False]
    assert not rates.left("a")


def test_kubernetes_without_a_cluster_is_refused(serve: Serve) -> None:
    with pytest.raises(SettingError, match="masterjob operator"):
        serve(auth=Auth.KUBERNETES)


def test_many_who_ask_at_once_are_one_review(serve: Serve) -> None:
    class Slow(Cluster):
        def __init__(self) -> None:
            super().__init__()
            self.begun, self.go_on = threading.Semaphore(0), threading.Event()

        def authenticate(self, token: str) -> Actor | None:
            self.begun.release()
            assert self.go_on.wait(30)
            return super().authenticate(token)

    cluster = Slow()
    client = serve(auth=Auth.KUBERNETES, authenticator=cluster).client
    seen: list[int] = []
    threads = [
        threading.Thread(target=lambda: seen.append(client.get(LOCKS, **bearer("ann-token")).status))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    assert cluster.begun.acquire(timeout=30)
    assert client.get("/explorer").status == 200  # nothing else waits for the cluster
    cluster.go_on.set()
    for thread in threads:
        thread.join(30)
    assert seen == [200] * 10
    assert cluster.reviews <= 4  # one under way, one for those who came meanwhile, and the same for what they may
