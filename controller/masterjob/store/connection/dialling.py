"""Opens one connection at any of a database's addresses, within one timeout for all of them.

The first address is tried first. The next one follows when that has failed, or when its share of the time has
passed; the earlier attempts go on meanwhile, and the first connection that opens is used. An attempt cannot be
interrupted, so it may open its connection after the timeout: it is kept for the next call.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from masterjob.concurrency.clock import MAX_GAP, RunningClock
from masterjob.store.connection.addresses import Address, is_name, look_up
from masterjob.store.connection.url import Endpoint


class Opening(Protocol):
    """A connection to one address, which is opened by a thread of its own."""

    def open(self) -> object:
        """Open it, however long that takes."""
        ...

    def abort(self) -> None:
        """Make a call that hangs on it fail."""
        ...

    def discard(self) -> None:
        """Close it without a message to the server."""
        ...


C = TypeVar("C", bound=Opening)


class _NoThread(Exception):
    """No thread can be started: the interpreter exits."""


class AllAddressesFailed(OSError):
    """No address of the database could be connected to; the message has the reason for each."""


class _Round:
    """One call of `Dialling.wait`: the addresses that it has not tried yet, and what the others came to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, Address]] = []
        """With the number of the endpoint, in whose order they are tried."""
        self.unresolved: set[int] = set()
        self.running = 0
        self.failures: list[tuple[str, Exception]] = []

    @property
    def is_over(self) -> bool:
        return not (self.waiting or self.unresolved or self.running)

    @property
    def next_is_known(self) -> bool:
        """Whether no earlier endpoint is still looked up."""
        return bool(self.waiting) and all(self.waiting[0][0] <= number for number in self.unresolved)


class Dialling(Generic[C]):
    """The attempts to open one connection. `wait` is for one thread at a time; `cancel` for any."""

    def __init__(self, new_opening: Callable[[Address], C], *, resolve_names: bool) -> None:
        self._new_opening = new_opening
        self._resolve_names = resolve_names
        self._condition = threading.Condition()
        self._running: set[C] = set()
        self._opened: C | None = None
        self._is_wanted = False
        self._is_cancelled = False

    def wait(self, endpoints: Sequence[Endpoint], timeout: float) -> C:
        """Return a connection to one of the endpoints.

        Raises:
            TimeoutError: none was open after ``timeout`` seconds, or `cancel` was called.
            AllAddressesFailed: several addresses failed.
            Exception: the error of the driver, if it is the server's or there is only one address.
        """
        current = _Round()
        try:
            with self._condition:
                self._is_wanted = True
                for number, endpoint in enumerate(endpoints if self._opened is None else ()):
                    self._add(current, number, endpoint)
                return self._wait_for_first(current, timeout, len(endpoints))
        except _NoThread:
            return self._open_here(endpoints)

    def allow(self) -> None:
        """Forget a `cancel` that came before."""
        self._is_cancelled = False

    def cancel(self) -> None:
        """Make a `wait` return that is under way, or that comes before the next `allow`."""
        with self._condition:
            self._is_cancelled = True
            self._condition.notify_all()

    def give_up(self) -> None:
        """Close what opened too late, or still opens."""
        with self._condition:
            self._is_wanted = False
            late, self._opened = self._opened, None
            running = list(self._running)
        for each in running:
            each.abort()  # its thread closes it
        if late is not None:
            late.discard()

    # --- in the thread of the caller; the condition is held

    def _add(self, current: _Round, number: int, endpoint: Endpoint) -> None:
        address = Address(endpoint.host, endpoint.port, endpoint.address)
        if endpoint.address or not self._resolve_names or not is_name(endpoint.host):
            current.waiting.append((number, address))
            return
        current.unresolved.add(number)
        _start_thread(lambda: self._resolve(current, number, address))

    def _wait_for_first(self, current: _Round, timeout: float, endpoints: int) -> C:
        clock = RunningClock()  # while the process is frozen, no address has its turn
        next_at = timeout / max(1, endpoints)
        while True:
            if self._opened is not None:
                opened, self._opened, self._is_wanted = self._opened, None, False
                return opened
            now = clock()
            if self._is_cancelled or now >= timeout:
                raise TimeoutError(f"no connection within {timeout:g} s" + _describe(current.failures))
            if current.is_over:
                raise _most_telling(current.failures)
            if current.waiting and (now >= next_at or (not current.running and current.next_is_known)):
                _, address = current.waiting.pop(0)
                shares = 1 + len(current.waiting) + len(current.unresolved)
                next_at = now + (timeout - now) / shares
                self._start(current, address)
                continue
            next_event_at = min(timeout, next_at) if current.waiting and next_at > now else timeout
            self._condition.wait(min(next_event_at - now, MAX_GAP))

    def _start(self, current: _Round, address: Address) -> None:
        opening = self._new_opening(address)
        _start_thread(lambda: self._open(current, address, opening))
        self._running.add(opening)
        current.running += 1

    def _open_here(self, endpoints: Sequence[Endpoint]) -> C:
        failures: list[tuple[str, Exception]] = []
        for endpoint in endpoints:
            opening = self._new_opening(Address(*endpoint))
            try:
                opening.open()
            except Exception as error:
                failures.append((str(endpoint), error))
            else:
                return opening
        raise _most_telling(failures)

    # --- in threads of their own

    def _resolve(self, current: _Round, number: int, address: Address) -> None:
        found: list[Address] = []
        failure: Exception | None = None
        try:
            found = look_up(address)
        except (OSError, UnicodeError) as error:
            failure = OSError(f"failed to resolve host {address.host!r}: {error}")
        with self._condition:
            current.unresolved.discard(number)
            current.waiting.extend((number, each) for each in found)
            current.waiting.sort(key=lambda each: each[0])
            if failure is not None:
                current.failures.append((str(address), failure))
            self._condition.notify_all()

    def _open(self, current: _Round, address: Address, opening: C) -> None:
        failure: Exception | None = None
        try:
            opening.open()
        except Exception as error:  # raised again by `wait`
            failure = error
        with self._condition:
            self._running.discard(opening)
            current.running -= 1
            is_kept = failure is None and self._is_wanted and self._opened is None
            if is_kept:
                self._opened = opening
            if failure is not None:
                current.failures.append((str(address), failure))
            self._condition.notify_all()
        if not is_kept:
            opening.discard()


def _start_thread(run: Callable[[], None]) -> None:
    try:
        threading.Thread(target=run, name="masterjob-connect", daemon=True).start()
    except RuntimeError as error:
        raise _NoThread from error


def _most_telling(failures: Sequence[tuple[str, Exception]]) -> Exception:
    """Return the answer of a server if there is one: it says more than that another one is away."""
    for _, error in failures:
        if is_answer_of_server(error):
            return error
    if len({str(error) for _, error in failures}) == 1:
        return failures[0][1]
    return AllAddressesFailed("; ".join(f"{address}: {_first_line(error)}" for address, error in failures))


def is_answer_of_server(error: Exception) -> bool:
    """Return whether a server has answered with this error."""
    original = getattr(error, "orig", None) or error
    code = original.args[0] if original.args else None
    if isinstance(code, int):  # MySQL: those of the client begin at 2000
        return 1000 <= code < 2000
    return bool(getattr(original, "sqlstate", None)) or " failed: FATAL" in str(original)


def _describe(failures: Sequence[tuple[str, Exception]]) -> str:
    return "".join(f"; {address}: {_first_line(error)}" for address, error in failures)


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
