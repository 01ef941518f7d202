"""The network that fails must do it as it says, or the scenarios show nothing."""

import socket
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy, Weather
from tests.faults.worker import now


@pytest.fixture
def far() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        yield listener


@pytest.fixture
def proxy(far: socket.socket) -> Iterator[Proxy]:
    proxy = Proxy(far.getsockname()[1])
    yield proxy
    proxy.close()


def dial(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def pair(proxy: Proxy, far: socket.socket) -> tuple[socket.socket, socket.socket]:
    near = dial(proxy)
    end, _ = far.accept()
    end.settimeout(5)
    return near, end


def hangs(end: socket.socket) -> bool:
    end.settimeout(0.2)
    try:
        end.recv(10)
    except TimeoutError:
        return True
    return False


def is_over(end: socket.socket) -> bool:
    try:
        return end.recv(10) == b""
    except ConnectionResetError:
        return True


def test_a_clear_sky_passes_both_ways_and_tells_the_end(proxy: Proxy, far: socket.socket) -> None:
    near, end = pair(proxy, far)
    with near, end:
        near.sendall(b"ask")
        assert end.recv(10) == b"ask"
        end.sendall(b"answer")
        assert near.recv(10) == b"answer"
        near.close()
        assert is_over(end)


def test_drop_resets_what_is_there_and_refuses_what_comes(proxy: Proxy, far: socket.socket) -> None:
    near, end = pair(proxy, far)
    with near, end:
        proxy.set(Weather.DROP)
        assert is_over(near)
        assert is_over(end)
        with dial(proxy) as late:
            assert is_over(late)


def test_swallow_accepts_and_says_nothing_until_the_sky_clears(proxy: Proxy, far: socket.socket) -> None:
    near, end = pair(proxy, far)
    with near, end:
        proxy.set(Weather.SWALLOW)
        near.sendall(b"ask")
        assert hangs(end)
        with dial(proxy) as late:
            late.sendall(b"ask")
            assert hangs(late)
            proxy.set(Weather.CLEAR)
            assert is_over(late)
        assert is_over(near)


def test_mute_loses_the_answers_only(proxy: Proxy, far: socket.socket) -> None:
    near, end = pair(proxy, far)
    with near, end:
        proxy.set(Weather.MUTE)
        near.sendall(b"ask")
        assert end.recv(10) == b"ask"
        end.sendall(b"answer")
        assert hangs(near)


def test_delay_comes_late_but_comes(proxy: Proxy, far: socket.socket) -> None:
    near, end = pair(proxy, far)
    with near, end:
        proxy.set(Weather.DELAY, delay=0.1)
        sent = now()
        near.sendall(b"ask")
        assert end.recv(10) == b"ask"
        assert now() - sent >= 0.1


def test_every_second_connection_can_be_hit_alone(proxy: Proxy, far: socket.socket) -> None:
    first, one = pair(proxy, far)
    second, two = pair(proxy, far)
    with first, one, second, two:
        proxy.set(Weather.DROP, each=2)
        assert is_over(second)
        first.sendall(b"ask")
        assert one.recv(10) == b"ask"
