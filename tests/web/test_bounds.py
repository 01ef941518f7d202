"""Sizes, counts, rates and times are bounded, and a slow database or client delays no other request."""

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

from masterjob.errors import StoreUnavailable
from masterjob.web.access import request_filter
from masterjob.web.api import request
from masterjob.web.connections import UNREAD_TIMEOUT, ConnectionLimit
from masterjob.web.pool import CallPool, ServerBusy, SingleFlight, pause_after
from tests.library.conftest import wait_until
from tests.timeouts import WAIT_TIMEOUT
from tests.web.conftest import DISABLE_PATH, LOCK_NAME, ApiClient, HangingLockAdmin, ServeApi

LOCKS_PATH = "/api/MasterLocks"


# --- sizes


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_a_body_that_is_too_large_is_refused_with_or_without_a_content_length(
    kind: str, client: ApiClient
) -> None:
    large = b"lockName=" + b"x" * request.MAX_BODY_BYTES
    assert client.request("POST", DISABLE_PATH, large, Content_Type=kind).status == 413
    with socket.create_connection(("127.0.0.1", client.port), WAIT_TIMEOUT) as connection:
        connection.sendall(
            f"POST {DISABLE_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        connection.sendall(b"%x\r\n%s\r\n" % (len(large), large))
        assert connection.recv(1024).startswith(b"HTTP/1.1 413")


def test_a_body_that_unfolds_is_bounded_by_what_it_unfolds_to(client: ApiClient) -> None:
    bomb = gzip.compress(b"lockName=" + b"x" * 10_000_000)
    answer = client.request(
        "POST", DISABLE_PATH, bomb, Content_Type="application/x-www-form-urlencoded", Content_Encoding="gzip"
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
def test_a_body_that_is_not_a_json_object_is_a_400(body: bytes, client: ApiClient) -> None:
    answer = client.request("POST", DISABLE_PATH, body, Content_Type="application/json")
    assert answer.status == 400
    assert "Traceback" not in answer.body.decode()


def test_a_form_that_is_not_valid_is_a_400(client: ApiClient) -> None:
    kind = "application/x-www-form-urlencoded"
    for body in (b"lockName=%FF", b"&".join(b"a=1" for _ in range(100)), b"lockName=a&lockName=b", b"\xff"):
        assert client.request("POST", DISABLE_PATH, body, Content_Type=kind).status == 400
    assert (
        client.request("POST", DISABLE_PATH, b"lockName=a", Content_Type=f"{kind}; charset=utf-16").status == 415
    )


def test_a_head_that_is_too_large_is_refused(client: ApiClient) -> None:
    assert client.get(LOCKS_PATH, X_Large="x" * 20_000).status == 400
    assert client.get(f"{LOCKS_PATH}/{'x' * 20_000}").status in (400, 414)
    assert client.get(f"{LOCKS_PATH}/{'x' * 201}").status == 400


# --- times


def test_a_body_that_arrives_too_slowly_is_a_408(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "BODY_TIMEOUT", 0.05)
    with socket.create_connection(("127.0.0.1", client.port), WAIT_TIMEOUT) as connection:
        connection.sendall(
            f"POST {DISABLE_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 100\r\n\r\n{".encode()
        )
        assert connection.recv(1024).startswith(b"HTTP/1.1 408")


def test_a_client_that_never_finishes_its_request_is_disconnected(
    serve: ServeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masterjob.web.server._KEEPALIVE_TIMEOUT", 0.05)
    client = serve().client
    with socket.create_connection(("127.0.0.1", client.port), WAIT_TIMEOUT) as connection:
        connection.sendall(b"GET /api/MasterLocks HTTP/1.1\r\nHost: loc")
        assert connection.recv(1024) == b""


def test_a_client_that_disconnects_while_sending_is_not_logged_as_a_defect(
    serve: ServeApi, caplog: pytest.LogCaptureFixture
) -> None:
    api = serve()
    with socket.create_connection(("127.0.0.1", api.client.port), WAIT_TIMEOUT) as connection:
        connection.sendall(
            f"POST {DISABLE_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 100\r\nExpect: 100-continue\r\n\r\n{".encode()
        )
        assert connection.recv(1024).startswith(b"HTTP/1.1 100")  # it is waiting for the rest
    labels = {"method": "POST", "route": DISABLE_PATH, "code": "400"}
    wait_until(lambda: api.metrics.registry.get_sample_value("masterjob_api_requests_total", labels) == 1)
    assert caplog.messages == []


class FakeTransport(asyncio.Transport):
    """A connection with a settable number of unread bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.unread = 0
        self.end_state = ""

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.end_state = "aborted"

    def close(self) -> None:
        self.end_state = "closed"


def test_a_client_that_does_not_read_its_answer_is_disconnected() -> None:
    limit, slow_transport, stalled_transport = ConnectionLimit(asyncio.Protocol), FakeTransport(), FakeTransport()
    for transport in (slow_transport, stalled_transport):
        limit.create_protocol().connection_made(transport)
        transport.unread = 1000
    limit.abort_unread(0.0)
    slow_transport.unread = 999
    limit.abort_unread(UNREAD_TIMEOUT / 2)
    limit.abort_unread(UNREAD_TIMEOUT + 1)
    assert (slow_transport.end_state, stalled_transport.end_state) == ("", "aborted")
    slow_transport.unread = 0
    limit.abort_unread(UNREAD_TIMEOUT + 2)
    slow_transport.unread = 5
    limit.abort_unread(10 * UNREAD_TIMEOUT)
    assert slow_transport.end_state == ""


def test_clients_that_are_still_connected_at_the_end_are_disconnected(serve: ServeApi) -> None:
    """Even if the client has read nothing of a large answer."""
    api = serve()
    connection = socket.socket()
    with connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(WAIT_TIMEOUT)
        connection.connect(("127.0.0.1", api.client.port))
        connection.sendall(3 * b"GET /explorer/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(64).startswith(b"HTTP/1.1 200")
        api.server.close()
        gc.collect()  # an unclosed transport warns, which is an error here
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(1 << 16):
                pass


# --- counts and rates


def test_connections_are_counted_and_one_too_many_is_closed() -> None:
    limit = ConnectionLimit(asyncio.Protocol, max_connections=2)
    transports = [FakeTransport() for _ in range(3)]
    protocols = [limit.create_protocol() for _ in transports[:2]]
    for protocol, pipe in zip(protocols, transports, strict=False):
        protocol.connection_made(pipe)
    limit.create_protocol().connection_made(transports[2])
    assert [pipe.end_state for pipe in transports] == ["", "", "closed"]
    protocols[0].connection_lost(None)
    new_transport = FakeTransport()
    limit.create_protocol().connection_made(new_transport)
    assert new_transport.end_state == ""


def test_too_many_requests_are_a_429_with_retry_after(serve: ServeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_filter, "WRITE_RATE", 2.0)
    client = serve().client
    answers = [client.post_form(DISABLE_PATH, lockName=LOCK_NAME, reason="x") for _ in range(20)]
    assert {answer.status for answer in answers} == {200, 429}
    assert answers[-1].headers["retry-after"] == "1"
    assert client.get(LOCKS_PATH).status == 200


# --- a slow database


def request_concurrently(number: int, send_request: Callable[[], Any]) -> tuple[list[threading.Thread], list[int]]:
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(send_request().status)) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads, statuses


def test_a_database_that_hangs_holds_up_neither_health_nor_metrics(serve: ServeApi) -> None:
    lock_admin = HangingLockAdmin()
    client = serve(lock_admin).client
    threads, statuses = request_concurrently(
        8, lambda: client.post_form(DISABLE_PATH, lockName=LOCK_NAME, reason="x")
    )
    for _ in range(4):  # as many as there are threads
        assert lock_admin.call_started.acquire(timeout=WAIT_TIMEOUT)
    assert [client.get(path).status for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3
    lock_admin.proceed.set()
    for thread in threads:
        thread.join(WAIT_TIMEOUT)
    assert statuses == [200] * 8


def test_a_request_beyond_the_queue_limit_is_a_503(serve: ServeApi) -> None:
    lock_admin = HangingLockAdmin()
    client = serve(lock_admin).client
    threads, statuses = request_concurrently(
        90, lambda: client.post_form(DISABLE_PATH, lockName=LOCK_NAME, reason="x")
    )
    for thread in threads:
        thread.join(0.0)
    while len(statuses) < 90 - 4 - 64:  # those that are refused at once
        threads[0].join(0.01)
    assert set(statuses) == {503}
    lock_admin.proceed.set()
    for thread in threads:
        thread.join(WAIT_TIMEOUT)
    assert sorted(set(statuses)) == [200, 503]
    assert client.post_form(DISABLE_PATH, lockName=LOCK_NAME, reason="x").status == 200


def test_readers_of_one_lock_share_an_answer_and_none_is_older_than_its_request(serve: ServeApi) -> None:
    lock_admin = HangingLockAdmin()
    client = serve(lock_admin).client
    threads, statuses = request_concurrently(50, lambda: client.get(f"{LOCKS_PATH}/{LOCK_NAME}"))
    assert lock_admin.call_started.acquire(timeout=WAIT_TIMEOUT)
    lock_admin.proceed.set()
    for thread in threads:
        thread.join(WAIT_TIMEOUT)
    assert statuses == [200] * 50
    assert lock_admin.call_count < 50


def test_a_shared_answer_is_never_older_than_its_request() -> None:
    async def scenario() -> list[int]:
        pool, numbers, proceed = CallPool("test"), iter(range(10)), threading.Event()

        def read_batch(keys: list[str]) -> dict[str, int]:
            number = next(numbers)
            assert proceed.wait(WAIT_TIMEOUT)
            return dict.fromkeys(keys, number)

        single_flight = SingleFlight(pool, read_batch, batch_size=1, concurrency=4, pause_factor=0)
        first = asyncio.ensure_future(single_flight.fetch("x"))
        while not single_flight._running:
            await asyncio.sleep(0)
        others = [asyncio.ensure_future(single_flight.fetch("x")) for _ in range(3)]
        await asyncio.sleep(0)
        proceed.set()
        answers = [await first, *[await each for each in others]]
        pool.close()
        return answers

    assert asyncio.run(scenario()) == [0, 1, 1, 1]


def test_different_keys_are_read_at_the_same_time_if_the_concurrency_allows_it() -> None:
    all_started = threading.Barrier(3, timeout=WAIT_TIMEOUT)

    def read_batch(keys: list[str]) -> dict[str, str]:
        all_started.wait()
        return {key: key for key in keys}

    async def scenario() -> list[str]:
        pool = CallPool("test")
        single_flight = SingleFlight(pool, read_batch, batch_size=1, concurrency=3, pause_factor=0)
        answers = await asyncio.gather(*(single_flight.fetch(key) for key in "abc"))
        pool.close()
        return answers

    assert asyncio.run(scenario()) == ["a", "b", "c"]


def test_readers_of_many_locks_share_batches_and_no_answer_is_older_than_its_request() -> None:
    batches: list[list[str]] = []
    batch_started, proceed = threading.Event(), threading.Event()

    def read_batch(names: list[str]) -> dict[str, int | Exception]:
        batches.append(names)
        batch_started.set()
        assert proceed.wait(WAIT_TIMEOUT)
        return {name: KeyError(name) if name == "bad" else len(batches) for name in names}

    async def scenario() -> list[object]:
        pool = CallPool("test")
        single_flight = SingleFlight(pool, read_batch)
        first = asyncio.ensure_future(single_flight.fetch("a"))
        await asyncio.to_thread(batch_started.wait, WAIT_TIMEOUT)
        others = [asyncio.ensure_future(single_flight.fetch(name)) for name in ("a", "b", "b", "bad")]
        cancelled = asyncio.ensure_future(single_flight.fetch("b"))
        await asyncio.sleep(0)
        cancelled.cancel()
        proceed.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        pool.close()
        return list(answers)

    answers = asyncio.run(scenario())
    assert batches == [["a"], ["a", "b", "bad"]]
    assert answers[:4] == [1, 2, 2, 2]
    assert isinstance(answers[4], KeyError)


def test_an_answer_is_encoded_by_its_batch_once_for_all_who_share_it(
    serve: ServeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of a thousand locks takes milliseconds, which neither the event loop nor each request should pay."""
    encoding_threads: list[str] = []

    def encode(value: object) -> bytes:
        encoding_threads.append(threading.current_thread().name)
        return json.dumps(value).encode()

    monkeypatch.setattr("masterjob.web.api.locks._encode_json", encode)
    lock_admin = HangingLockAdmin()
    client = serve(lock_admin).client
    threads, statuses = request_concurrently(20, lambda: client.get(f"{LOCKS_PATH}?limit=10"))
    assert lock_admin.call_started.acquire(timeout=WAIT_TIMEOUT)
    lock_admin.proceed.set()
    for thread in threads:
        thread.join(WAIT_TIMEOUT)
    assert statuses == [200] * 20
    assert len(encoding_threads) == lock_admin.call_count < 20
    assert "masterjob-api" not in encoding_threads


def test_a_pause_is_longer_than_its_batch_and_as_long_as_its_cpu_time_requires() -> None:
    assert pause_after(elapsed=0.01, cpu_seconds=0.002) == pytest.approx(0.04)
    assert pause_after(elapsed=5.0, cpu_seconds=0.002) == 0.05
    assert pause_after(elapsed=5.0, cpu_seconds=0.5) == pytest.approx(2.0)


def test_too_many_different_pending_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masterjob.web.pool.MAX_PENDING", 2)
    proceed = threading.Event()

    def read_batch(numbers: list[int]) -> dict[int, int]:
        assert proceed.wait(WAIT_TIMEOUT)
        return {number: number for number in numbers}

    async def scenario() -> list[object]:
        pool = CallPool("test")
        single_flight = SingleFlight(pool, read_batch)
        requests = [asyncio.ensure_future(single_flight.fetch(number)) for number in range(3)]
        await asyncio.wait([requests[2]])
        proceed.set()
        answers = await asyncio.gather(*requests, return_exceptions=True)
        pool.close()
        return list(answers)

    *answered, refused = asyncio.run(scenario())
    assert (answered, type(refused)) == ([0, 1], ServerBusy)


def test_a_key_is_not_read_once_no_request_waits_for_it() -> None:
    """After a flood of slow reads, later requests must not wait for answers that no client gets."""
    read_keys: list[str] = []
    batch_started, proceed = threading.Event(), threading.Event()

    def read_batch(keys: list[str]) -> dict[str, str]:
        read_keys.extend(keys)
        batch_started.set()
        assert proceed.wait(WAIT_TIMEOUT)
        return {key: key for key in keys}

    async def scenario() -> None:
        pool = CallPool("test")
        single_flight = SingleFlight(pool, read_batch, batch_size=1)
        first = asyncio.ensure_future(single_flight.fetch("first"))
        await asyncio.to_thread(batch_started.wait, WAIT_TIMEOUT)
        pool.timeout = 0.05
        with pytest.raises(ServerBusy, match="no answer within"):
            await single_flight.fetch("timed out")
        pool.timeout = WAIT_TIMEOUT
        cancelled, patient = (asyncio.ensure_future(single_flight.fetch("shared")) for _ in range(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        proceed.set()
        assert [await first, await patient] == ["first", "shared"]
        pool.close()

    asyncio.run(scenario())
    assert read_keys == ["first", "shared"]


def test_a_call_that_takes_too_long_is_abandoned_and_its_thread_is_reused() -> None:
    async def scenario() -> str:
        pool, proceed = CallPool("test", threads=1, timeout=0.05), threading.Event()
        with pytest.raises(ServerBusy, match="no answer within"):
            await pool.run(lambda: proceed.wait(WAIT_TIMEOUT))
        proceed.set()
        pool.timeout = WAIT_TIMEOUT
        answer = await pool.run(lambda: "well")
        pool.close()
        return answer

    assert asyncio.run(scenario()) == "well"


def test_a_database_without_an_answer_is_a_503_without_details(serve: ServeApi) -> None:
    class Dead(HangingLockAdmin):
        def _hang(self) -> None:
            raise StoreUnavailable("postgresql://app:geheim@db/x refused")

    answer = serve(Dead()).client.get(LOCKS_PATH)
    assert (answer.status, answer.message) == (503, "the database did not answer: try again")
    assert answer.headers["retry-after"] == "1"


def test_an_internal_error_exposes_no_stack(serve: ServeApi, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(HangingLockAdmin):
        def _hang(self) -> None:
            raise ZeroDivisionError("secret")

    answer = serve(Broken()).client.get(LOCKS_PATH)
    assert (answer.status, "secret" in answer.message) == (500, False)
    assert "ZeroDivisionError" in caplog.text
