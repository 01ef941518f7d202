"""Each network mode does what its name says; without that the scenarios prove nothing."""

import socket
from collections.abc import Iterator

import pytest

from tests.faults.proxy import NetworkMode, Proxy
from tests.faults.worker import now
from tests.timeouts import WAIT_TIMEOUT


@pytest.fixture
def upstream() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT_TIMEOUT)
        yield listener


@pytest.fixture
def proxy(upstream: socket.socket) -> Iterator[Proxy]:
    proxy = Proxy(upstream.getsockname()[1])
    yield proxy
    proxy.close()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=WAIT_TIMEOUT)


def connect_pair(proxy: Proxy, upstream: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = connect(proxy)
    server, _ = upstream.accept()
    server.settimeout(WAIT_TIMEOUT)
    return client, server


def hangs(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        connection.recv(10)
    except TimeoutError:
        return True
    return False


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(10) == b""
    except ConnectionResetError:
        return True


def test_a_clear_network_passes_both_ways_and_closes(proxy: Proxy, upstream: socket.socket) -> None:
    client, server = connect_pair(proxy, upstream)
    with client, server:
        client.sendall(b"ask")
        assert server.recv(10) == b"ask"
        server.sendall(b"answer")
        assert client.recv(10) == b"answer"
        client.close()
        assert is_closed(server)


def test_drop_resets_existing_connections_and_refuses_new_ones(proxy: Proxy, upstream: socket.socket) -> None:
    client, server = connect_pair(proxy, upstream)
    with client, server:
        proxy.set_mode(NetworkMode.DROP)
        assert is_closed(client)
        assert is_closed(server)
        with connect(proxy) as late:
            assert is_closed(late)


def test_swallow_accepts_and_forwards_nothing_until_cleared(proxy: Proxy, upstream: socket.socket) -> None:
    client, server = connect_pair(proxy, upstream)
    with client, server:
        proxy.set_mode(NetworkMode.SWALLOW)
        client.sendall(b"ask")
        assert hangs(server)
        with connect(proxy) as late:
            late.sendall(b"ask")
            assert hangs(late)
            proxy.set_mode(NetworkMode.CLEAR)
            assert is_closed(late)
        assert is_closed(client)


def test_mute_loses_only_the_answers(proxy: Proxy, upstream: socket.socket) -> None:
    client, server = connect_pair(proxy, upstream)
    with client, server:
        proxy.set_mode(NetworkMode.MUTE)
        client.sendall(b"ask")
        assert server.recv(10) == b"ask"
        server.sendall(b"answer")
        assert hangs(client)


def test_delay_passes_data_on_late(proxy: Proxy, upstream: socket.socket) -> None:
    client, server = connect_pair(proxy, upstream)
    with client, server:
        proxy.set_mode(NetworkMode.DELAY, delay=0.1)
        sent = now()
        client.sendall(b"ask")
        assert server.recv(10) == b"ask"
        assert now() - sent >= 0.1


def test_every_second_connection_can_be_affected_alone(proxy: Proxy, upstream: socket.socket) -> None:
    first, one = connect_pair(proxy, upstream)
    second, two = connect_pair(proxy, upstream)
    with first, one, second, two:
        proxy.set_mode(NetworkMode.DROP, every_nth=2)
        assert is_closed(second)
        first.sendall(b"ask")
        assert one.recv(10) == b"ask"
