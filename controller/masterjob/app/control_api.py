"""Puts the control API together with this process: the same for the library, ``run`` and the operator.

Make an `ControlApi` before the first lock is opened, so that its metrics see everything; `ControlApi.start`
then listens. Only this imports the room `web`, and whoever imports this waits for aiohttp.
"""

from collections.abc import Sequence

from aiohttp import web

from masterjob.election.runner import ElectionRunner
from masterjob.runtime.runtime import Runtime
from masterjob.store.admin import LockAdmin
from masterjob.web.app import ApplicationComponents, application
from masterjob.web.config import ListenConfig
from masterjob.web.health import DatabaseReadiness, Health
from masterjob.web.interfaces import Authenticator, ReadinessCheck
from masterjob.web.metrics.observer import Metrics
from masterjob.web.server import Server, create_authorizer, start_server


class ControlApi:
    """The control API of this process.

    ``readiness_checks`` are what readiness waits for, beside a database that answers. ``authenticator`` asks the
    cluster who may.
    ``metrics`` is there for those who count something of their own: status writes, wake-ups.
    """

    def __init__(
        self,
        runtime: Runtime,
        lock_admin: LockAdmin,
        readiness_checks: Sequence[ReadinessCheck] = (),
        authenticator: Authenticator | None = None,
    ) -> None:
        def runners() -> list[ElectionRunner]:
            return [instance.runner for instance in runtime.instances()]

        database_check = DatabaseReadiness()
        self.metrics = Metrics(runners)
        self._authenticator = authenticator
        self._components = ApplicationComponents(
            lock_admin, Health(runners, [*readiness_checks, database_check]), self.metrics
        )
        self._server: Server | None = None
        runtime.add_observer(self.metrics.on_step)
        runtime.add_status_write_observer(self.metrics.count_status_write)
        runtime.add_observer(database_check.on_step)

    @property
    def port(self) -> int | None:
        """The port that it listens on by now."""
        return None if self._server is None else self._server.port

    @property
    def probe_port(self) -> int | None:
        """The port on which probes are answered by now."""
        return None if self._server is None else self._server.probe_port

    def start(self, listen_config: ListenConfig) -> None:
        """Listen, on a thread of its own; a port that cannot be had is told in the log and tried again.

        Raises:
            SettingError: certificates or tokens cannot be used.
        """
        self._server = start_server(listen_config, self._components, self._authenticator)

    def application(self, listen_config: ListenConfig) -> web.Application:
        """Return the API as an aiohttp application, to be mounted in another one, which listens for it."""
        return application(
            self._components, create_authorizer(listen_config, self._authenticator), listen_config.allowed_hosts
        )

    def wait_for_bind_attempt(self, timeout: float = 10.0) -> bool:
        """Wait until each port was tried once; False if that takes longer."""
        return self._server is None or self._server.wait_for_bind_attempt(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Listen no more, and end within so many seconds."""
        if self._server is not None:
            self._server.close(timeout)
