"""Sizes, counts, rates and times are bounded, and a slow database or client costs nobody else anything."""

import asyncio
import contextlib
import gc
import gzip
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from masterjob.election.errors import StoreUnavailable
from masterjob.web.access import gates
from masterjob.web.api import asked
from masterjob.web.api.rounds import Rounds, pause_after
from masterjob.web.calls import Busy, Calls
from masterjob.web.doors import UNREAD_SECONDS, Doors
from tests.library.conftest import wait_until
from tests.web.conftest import DISABLE, LOCK, PATIENCE, Client, HungBoard, Serve

LOCKS = "/api/MasterLocks"


# --- sizes


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_a_body_that_is_too_large_is_refused_whether_its_length_is_said_or_not(kind: str, client: Client) -> None:
    large = b"lockName=" + b"x" * asked.BODY_LIMIT
    assert client.ask("POST", DISABLE, large, Content_Type=kind).status == 413
    with socket.create_connection(("127.0.0.1", client.port), PATIENCE) as line:
        line.sendall(
            f"POST {DISABLE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        line.sendall(b"%x\r\n%s\r\n" % (len(large), large))
        assert line.recv(1024).startswith(b"HTTP/1.1 413")


def test_a_body_that_unfolds_is_bounded_by_what_it_unfolds_to(client: Client) -> None:
    bomb = gzip.compress(b"lockName=" + b"x" * 10_000_000)
    answer = client.ask(
        "POST", DISABLE, bomb, Content_Type="application/x-www-form-urlencoded", Content_Encoding="gzip"
    )
    assert answer.status in (400, 413)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000,
        b"{",
        b"[]",
        b'[["lockName", "A"], ["reason", "x"]]',
        b'"text"',
        b"1" * 10_000,
        b'{"lockName": "\xff"}',
        b'{"lockName": "\\ud800"}',
        b"",
    ],
)
def test_json_that_is_none_or_no_object_is_a_400(body: bytes, client: Client) -> None:
    answer = client.ask("POST", DISABLE, body, Content_Type="application/json")
    assert answer.status == 400
    assert "Traceback" not in answer.body.decode()


def test_a_form_that_is_none_is_a_400(client: Client) -> None:
    kind = "application/x-www-form-urlencoded"
    for body in (b"lockName=%FF", b"&".join(b"a=1" for _ in range(100)), b"lockName=a&lockName=b", b"\xff"):
        assert client.ask("POST", DISABLE, body, Content_Type=kind).status == 400
    assert client.ask("POST", DISABLE, b"lockName=a", Content_Type=f"{kind}; charset=utf-16").status == 415


def test_a_head_that_is_too_large_is_refused(client: Client) -> None:
    assert client.get(LOCKS, X_Large="x" * 20_000).status == 400
    assert client.get(f"{LOCKS}/{'x' * 20_000}").status in (400, 414)
    assert client.get(f"{LOCKS}/{'x' * 201}").status == 400


# --- times


def test_a_body_that_comes_too_slowly_is_given_up_on(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "BODY_SECONDS", 0.05)
    with socket.create_connection(("127.0.0.1", client.port), PATIENCE) as line:
        line.sendall(
            f"POST {DISABLE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 100\r\n\r\n{".encode()
        )
        assert line.recv(1024).startswith(b"HTTP/1.1 408")


def test_who_never_finishes_asking_is_hung_up_on(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masterjob.web.server._REQUEST_SECONDS", 0.05)
    client = serve().client
    with socket.create_connection(("127.0.0.1", client.port), PATIENCE) as line:
        line.sendall(b"GET /api/MasterLocks HTTP/1.1\r\nHost: loc")
        assert line.recv(1024) == b""


def test_who_goes_away_while_sending_is_no_defect_of_ours(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    served = serve()
    with socket.create_connection(("127.0.0.1", served.client.port), PATIENCE) as line:
        line.sendall(
            f"POST {DISABLE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 100\r\nExpect: 100-continue\r\n\r\n{".encode()
        )
        assert line.recv(1024).startswith(b"HTTP/1.1 100")  # it is waiting for the rest
    counted = {"method": "POST", "route": DISABLE, "code": "400"}
    wait_until(lambda: served.metrics.registry.get_sample_value("masterjob_api_requests_total", counted) == 1)
    assert caplog.messages == []


class Pipe(asyncio.Transport):
    """A connection whose other end reads when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.unread = 0
        self.gone = ""

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.gone = "aborted"

    def close(self) -> None:
        self.gone = "closed"


def test_who_does_not_read_what_it_asked_for_is_hung_up_on() -> None:
    doors, slow, hung = Doors(asyncio.Protocol), Pipe(), Pipe()
    for pipe in (slow, hung):
        doors.enter().connection_made(pipe)
        pipe.unread = 1000
    doors.close_unread(0.0)
    slow.unread = 999
    doors.close_unread(UNREAD_SECONDS / 2)
    doors.close_unread(UNREAD_SECONDS + 1)
    assert (slow.gone, hung.gone) == ("", "aborted")
    slow.unread = 0
    doors.close_unread(UNREAD_SECONDS + 2)
    slow.unread = 5
    doors.close_unread(10 * UNREAD_SECONDS)
    assert slow.gone == ""


def test_who_is_still_connected_when_it_ends_is_cut_off(serve: Serve) -> None:
    """Also who has read nothing of a large answer, which nobody can wait for."""
    served = serve()
    line = socket.socket()
    with line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(PATIENCE)
        line.connect(("127.0.0.1", served.client.port))
        line.sendall(3 * b"GET /explorer/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert line.recv(64).startswith(b"HTTP/1.1 200")
        served.server.close()
        gc.collect()  # what was not closed says so, which is an error here
        with contextlib.suppress(ConnectionResetError):
            while line.recv(1 << 16):
                pass


# --- counts and rates


def test_connections_are_counted_and_one_too_many_is_closed() -> None:
    doors = Doors(asyncio.Protocol, most=2)
    pipes = [Pipe() for _ in range(3)]
    protocols = [doors.enter() for _ in pipes[:2]]
    for protocol, pipe in zip(protocols, pipes, strict=False):
        protocol.connection_made(pipe)
    doors.enter().connection_made(pipes[2])
    assert [pipe.gone for pipe in pipes] == ["", "", "closed"]
    protocols[0].connection_lost(None)
    again = Pipe()
    doors.enter().connection_made(again)
    assert again.gone == ""


def test_too_many_requests_are_told_to_wait(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "SWITCHES", 2.0)
    client = serve().client
    answers = [client.form(DISABLE, lockName=LOCK, reason="x") for _ in range(20)]
    assert {answer.status for answer in answers} == {200, 429}
    assert answers[-1].headers["retry-after"] == "1"
    assert client.get(LOCKS).status == 200


# --- a slow database


def ask_at_once(number: int, ask: Callable[[], Any]) -> tuple[list[threading.Thread], list[int]]:
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(ask().status)) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads, seen


def test_a_database_that_hangs_holds_up_neither_health_nor_metrics(serve: Serve) -> None:
    board = HungBoard()
    client = serve(board).client
    threads, seen = ask_at_once(8, lambda: client.form(DISABLE, lockName=LOCK, reason="x"))
    for _ in range(4):  # as many as there are threads
        assert board.asked.acquire(timeout=PATIENCE)
    assert [client.get(path).status for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3
    board.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert seen == [200] * 8


def test_who_comes_when_too_many_wait_is_told_to_come_back(serve: Serve) -> None:
    board = HungBoard()
    client = serve(board).client
    threads, seen = ask_at_once(90, lambda: client.form(DISABLE, lockName=LOCK, reason="x"))
    for thread in threads:
        thread.join(0.0)
    while len(seen) < 90 - 4 - 64:  # those who are turned away at once
        threads[0].join(0.01)
    assert set(seen) == {503}
    board.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(set(seen)) == [200, 503]
    assert client.form(DISABLE, lockName=LOCK, reason="x").status == 200


def test_readers_of_one_thing_share_its_answer_and_none_is_older_than_its_question(serve: Serve) -> None:
    board = HungBoard()
    client = serve(board).client
    threads, seen = ask_at_once(50, lambda: client.get(f"{LOCKS}/{LOCK}"))
    assert board.asked.acquire(timeout=PATIENCE)
    board.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert seen == [200] * 50
    assert board.calls < 50


def test_an_answer_is_never_older_than_its_question() -> None:
    async def story() -> list[int]:
        calls, numbers, go_on = Calls("test"), iter(range(10)), threading.Event()

        def call() -> int:
            number = next(numbers)
            assert go_on.wait(PATIENCE)
            return number

        first = asyncio.ensure_future(calls.shared("x", call))
        while not calls._running:
            await asyncio.sleep(0)
        others = [asyncio.ensure_future(calls.shared("x", call)) for _ in range(3)]
        await asyncio.sleep(0)
        go_on.set()
        answers = [await first, *[await each for each in others]]
        calls.close()
        return answers

    assert asyncio.run(story()) == [0, 1, 1, 1]


def test_readers_of_many_things_share_rounds_and_none_is_older_than_its_question() -> None:
    asked: list[list[str]] = []
    begun, go_on = threading.Event(), threading.Event()

    def read(names: list[str]) -> dict[str, object]:
        asked.append(names)
        begun.set()
        assert go_on.wait(PATIENCE)
        return {name: KeyError(name) if name == "bad" else len(asked) for name in names}

    async def story() -> list[object]:
        calls = Calls("test")
        rounds = Rounds(calls, read)
        first = asyncio.ensure_future(rounds.ask("a"))
        await asyncio.to_thread(begun.wait, PATIENCE)
        others = [asyncio.ensure_future(rounds.ask(name)) for name in ("a", "b", "b", "bad")]
        gone = asyncio.ensure_future(rounds.ask("b"))
        await asyncio.sleep(0)
        gone.cancel()
        go_on.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        calls.close()
        return list(answers)

    answers = asyncio.run(story())
    assert asked == [["a"], ["a", "b", "bad"]]
    assert answers[:4] == [1, 2, 2, 2]
    assert isinstance(answers[4], KeyError)


def test_an_answer_is_written_by_its_round_once_for_all_who_share_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of a thousand locks takes milliseconds: neither the event loop nor each reader is to have them."""
    written_by: list[str] = []

    def write(said: object) -> bytes:
        written_by.append(threading.current_thread().name)
        return json.dumps(said).encode()

    monkeypatch.setattr("masterjob.web.api.locks._written", write)
    board = HungBoard()
    client = serve(board).client
    threads, seen = ask_at_once(20, lambda: client.get(f"{LOCKS}?limit=10"))
    assert board.asked.acquire(timeout=PATIENCE)
    board.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert seen == [200] * 20
    assert len(written_by) == board.calls < 20
    assert "masterjob api" not in written_by


def test_a_pause_is_longer_than_its_round_and_as_long_as_its_work_asks_for() -> None:
    assert pause_after(took=0.01, worked=0.002) == pytest.approx(0.04)
    assert pause_after(took=5.0, worked=0.002) == 0.05
    assert pause_after(took=5.0, worked=0.5) == pytest.approx(2.0)


def test_too_many_different_questions_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masterjob.web.api.rounds.MOST", 2)
    go_on = threading.Event()

    def read(numbers: list[int]) -> dict[int, int]:
        assert go_on.wait(PATIENCE)
        return {number: number for number in numbers}

    async def story() -> list[object]:
        calls = Calls("test")
        rounds = Rounds(calls, read)
        asked = [asyncio.ensure_future(rounds.ask(number)) for number in range(3)]
        await asyncio.wait([asked[2]])
        go_on.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        calls.close()
        return list(answers)

    *answered, refused = asyncio.run(story())
    assert (answered, type(refused)) == ([0, 1], Busy)


def test_a_call_that_takes_too_long_is_given_up_on_and_its_thread_comes_back() -> None:
    async def story() -> str:
        calls, go_on = Calls("test", threads=1, timeout=0.05), threading.Event()
        with pytest.raises(Busy, match="no answer within"):
            await calls.run(lambda: go_on.wait(PATIENCE))
        go_on.set()
        calls._timeout = PATIENCE
        answer = await calls.run(lambda: "well")
        calls.close()
        return answer

    assert asyncio.run(story()) == "well"


def test_a_database_without_an_answer_is_a_503_that_shows_nothing_of_it(serve: Serve) -> None:
    class Dead(HungBoard):
        def _hang(self) -> None:
            raise StoreUnavailable("postgresql://app:geheim@db/x refused")

    answer = serve(Dead()).client.get(LOCKS)
    assert (answer.status, answer.message) == (503, "the database did not answer: try again")
    assert answer.headers["retry-after"] == "1"


def test_a_defect_of_our_own_shows_no_stack(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(HungBoard):
        def _hang(self) -> None:
            raise ZeroDivisionError("secret")

    answer = serve(Broken()).client.get(LOCKS)
    assert (answer.status, "secret" in answer.message) == (500, False)
    assert "ZeroDivisionError" in caplog.text
