"""Several addresses: a silent one does not use up the time of the others, and what opens late is not lost."""

import threading

import pytest

from masterjob.store.connection.addresses import Address
from masterjob.store.connection.dialling import AllAddressesFailed, Dialling
from masterjob.store.connection.url import Endpoint
from tests.timeouts import WAIT_TIMEOUT


class FakeOpening:
    """A connection that opens, or fails, when the test lets it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.error: Exception | None = None
        self.released = threading.Event()
        self.discarded = threading.Event()
        self.aborted = False

    def open(self) -> None:
        assert self.released.wait(WAIT_TIMEOUT)
        if self.error is not None:
            raise self.error

    def abort(self) -> None:
        self.aborted = True

    def discard(self) -> None:
        self.discarded.set()


class FakeNetwork:
    """Addresses by host name: silent, open, or with an error."""

    def __init__(self, **errors: Exception | None) -> None:
        self._errors = errors
        self.openings: list[FakeOpening] = []
        self.dialling = Dialling(self._new_opening, resolve_names=False)

    def _new_opening(self, address: Address) -> FakeOpening:
        opening = FakeOpening(address)
        if address.host in self._errors:
            opening.error = self._errors[address.host]
            opening.released.set()
        self.openings.append(opening)
        return opening

    def wait(self, *hosts: str, timeout: float = WAIT_TIMEOUT) -> FakeOpening:
        return self.dialling.wait([Endpoint(host) for host in hosts], timeout)


def test_the_first_host_that_is_there_is_used_and_no_further_one_is_asked() -> None:
    network = FakeNetwork(a=None, b=None)
    assert network.wait("a", "b").address.host == "a"
    assert len(network.openings) == 1


def test_a_host_that_fails_is_followed_by_the_next_at_once() -> None:
    network = FakeNetwork(a=OSError("refused"), b=OSError("refused too"), c=None)
    assert network.wait("a", "b", "c").address.host == "c"
    assert network.openings[0].discarded.wait(WAIT_TIMEOUT)


def test_if_every_host_fails_the_error_has_the_reason_for_each() -> None:
    network = FakeNetwork(a=OSError("refused"), b=OSError("no route\nmore"))
    with pytest.raises(AllAddressesFailed, match=r"a: refused; b: no route$"):
        network.wait("a", "b")


@pytest.mark.parametrize("answer", ["connection to server failed: FATAL:  no such role", 1045])
def test_the_answer_of_a_server_says_more_than_a_host_that_is_away(answer: object) -> None:
    error = RuntimeError(answer)
    network = FakeNetwork(a=error, b=OSError("refused"))
    with pytest.raises(RuntimeError) as raised:
        network.wait("a", "b")
    assert raised.value is error


def test_a_connection_that_comes_late_is_used_by_the_next_call() -> None:
    network = FakeNetwork()
    with pytest.raises(TimeoutError, match=r"no connection within 0\.01 s"):
        network.wait("silent", timeout=0.01)
    (late,) = network.openings
    late.released.set()
    assert network.wait("silent") is late
    assert not late.discarded.is_set()


def test_a_connection_that_comes_late_is_closed_if_another_one_is_in_use() -> None:
    network = FakeNetwork(b=None)
    with pytest.raises(TimeoutError):
        network.wait("silent", timeout=0.01)
    assert network.wait("b").address.host == "b"
    late = network.openings[0]
    late.released.set()
    assert late.discarded.wait(WAIT_TIMEOUT)


def test_a_connection_that_comes_after_the_end_is_closed() -> None:
    network = FakeNetwork()
    with pytest.raises(TimeoutError):
        network.wait("silent", timeout=0.01)
    network.dialling.give_up()
    (late,) = network.openings
    assert late.aborted
    late.released.set()
    assert late.discarded.wait(WAIT_TIMEOUT)


def test_a_late_connection_that_nobody_has_taken_is_closed_at_the_end() -> None:
    network = FakeNetwork()
    with pytest.raises(TimeoutError):
        network.wait("silent", timeout=0.01)
    (late,) = network.openings
    late.released.set()
    while network.dialling._opened is None:
        threading.Event().wait(0.001)
    network.dialling.give_up()
    assert late.discarded.is_set()


def test_a_wait_is_cancelled_until_it_is_allowed_again() -> None:
    network = FakeNetwork(a=None)
    network.dialling.cancel()
    with pytest.raises(TimeoutError):
        network.wait("silent")
    network.dialling.allow()
    assert network.wait("a").address.host == "a"


def test_without_threads_the_hosts_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the locks are released while the interpreter exits."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    network = FakeNetwork(a=OSError("refused"), b=None)
    assert network.wait("a", "b").address.host == "b"
