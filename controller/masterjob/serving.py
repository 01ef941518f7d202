"""Puts the control API together with this process: the same for the library, ``run`` and the operator.

Make an `Api` before the first lock is opened, so that its metrics see everything; `Api.start` then listens. Only
this imports the room `web`, and whoever imports this waits for aiohttp.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from aiohttp import web

from masterjob.election.driver import Driver
from masterjob.election.views import Event, LockStatus
from masterjob.process.process import Process
from masterjob.store.switchboard import Switchboard
from masterjob.web.app import Parts, application
from masterjob.web.health import DatabaseAnswers, Health
from masterjob.web.metrics.observer import Metrics
from masterjob.web.options import Listening
from masterjob.web.ports import Authenticator, Check
from masterjob.web.server import Server, doorman, start


class LateBoard:
    """A switchboard that is looked for when it is first needed, and kept once it was found."""

    def __init__(self, find: Callable[[], Switchboard]) -> None:
        self._find = find
        self._found: Switchboard | None = None
        self._lock = threading.Lock()

    def _board(self) -> Switchboard:
        with self._lock:  # the tables are made by one call, not by all that wait
            if self._found is None:
                self._found = self._find()
            return self._found

    def disable(
        self, lock_name: str, reason: str, actor: str, source: str = "api", until: datetime | None = None
    ) -> bool:
        """Do what `Switchboard.disable` does; so do the others."""
        return self._board().disable(lock_name, reason, actor, source, until)

    def enable(self, lock_name: str, actor: str, source: str = "api") -> bool:
        """See `disable`."""
        return self._board().enable(lock_name, actor, source)

    def step_down(self, lock_name: str, actor: str, reason: str) -> bool:
        """See `disable`."""
        return self._board().step_down(lock_name, actor, reason)

    def status(self, lock_name: str | None = None) -> list[LockStatus]:
        """See `disable`."""
        return self._board().status(lock_name)

    def status_of(self, lock_names: Iterable[str]) -> dict[str, LockStatus]:
        """See `disable`."""
        return self._board().status_of(lock_names)

    def history(self, lock_name: str, limit: int = 100) -> list[Event]:
        """See `disable`."""
        return self._board().history(lock_name, limit)


class Api:
    """The control API of this process.

    ``find`` returns the switchboard, its tables up to date; it may block and raise `StoreUnavailable`. ``checks``
    are what readiness waits for, beside a database that answers. ``authenticator`` asks the cluster who may.
    ``metrics`` is there for those who count something of their own: status writes, wake-ups.
    """

    def __init__(
        self,
        process: Process,
        find: Callable[[], Switchboard],
        checks: Sequence[Check] = (),
        authenticator: Authenticator | None = None,
    ) -> None:
        def members() -> list[Driver]:
            return [instance.driver for instance in process.instances()]

        answers = DatabaseAnswers()
        self.metrics = Metrics(members)
        self._authenticator = authenticator
        self._parts = Parts(LateBoard(find), Health(members, [*checks, answers]), self.metrics)
        self._server: Server | None = None
        process.observe(self.metrics.see)
        process.observe(answers.see)

    @property
    def port(self) -> int | None:
        """The port that it listens on by now."""
        return None if self._server is None else self._server.port

    @property
    def probe_port(self) -> int | None:
        """The port on which probes are answered by now."""
        return None if self._server is None else self._server.probe_port

    def start(self, listening: Listening) -> None:
        """Listen, on a thread of its own; a port that cannot be had is told in the log and tried again.

        Raises:
            SettingError: certificates or tokens cannot be used.
        """
        self._server = start(listening, self._parts, self._authenticator)

    def application(self, listening: Listening) -> web.Application:
        """Return the API as an aiohttp application, to be mounted in another one, which listens for it."""
        return application(self._parts, doorman(listening, self._authenticator), listening.allowed_hosts)

    def wait_tried(self, timeout: float = 10.0) -> bool:
        """Wait until each port was tried once; False if that takes longer."""
        return self._server is None or self._server.wait_tried(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Listen no more, and end within so many seconds."""
        if self._server is not None:
            self._server.close(timeout)
