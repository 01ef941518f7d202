"""The control API on the instances of this process: the same for the library, ``run`` and the operator.

Only this module imports the package `web`, and with it aiohttp: import it only to serve.
"""

from collections.abc import Sequence

from aiohttp import web

from masterjob.election.runner import ElectionRunner
from masterjob.runtime.gap_meter import GapMeter
from masterjob.runtime.runtime import Runtime
from masterjob.runtime.shutdown import API_STOP_TIMEOUT
from masterjob.store.admin import LockAdmin
from masterjob.web.app import ApplicationComponents, application
from masterjob.web.config import ListenConfig
from masterjob.web.health import DatabaseReadiness, Health, JobSummary
from masterjob.web.interfaces import Authenticator, ReadinessCheck
from masterjob.web.metrics.observer import Metrics
from masterjob.web.server import Server, create_authorizer, start_server


class ControlApi:
    """The control API of this process. Create it before the first lock is opened: its metrics count from then on.

    ``readiness_checks`` are the conditions of readiness beside a database that answers. ``authenticator`` decides
    who may call if ``auth`` is ``kubernetes``.
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

        database_check, job_summary = DatabaseReadiness(), JobSummary()
        self.metrics = Metrics(runners)
        self._authenticator = authenticator
        self._components = ApplicationComponents(
            lock_admin,
            Health(runners, [*readiness_checks, database_check, runtime.describe_refusal], job_summary),
            self.metrics,
        )
        self._server: Server | None = None
        runtime.add_observer(self.metrics.on_step)
        runtime.add_observer(GapMeter(lock_admin.history, self.metrics.count_gap).on_step)
        runtime.add_observer(database_check.on_step)
        runtime.add_observer(job_summary.on_step)
        runtime.add_status_write_observer(self.metrics.count_status_write)

    @property
    def port(self) -> int | None:
        """The port of the control API, or None while it does not listen."""
        return None if self._server is None else self._server.port

    @property
    def probe_port(self) -> int | None:
        """The port of the probes, or None while it does not listen."""
        return None if self._server is None else self._server.probe_port

    def start(self, listen_config: ListenConfig) -> None:
        """Listen, on a thread of its own. If the port is in use, an error is logged and binding is retried.

        Raises:
            SettingError: a certificate or the file of tokens is not valid.
        """
        self._server = start_server(listen_config, self._components, self._authenticator)

    def application(self, listen_config: ListenConfig) -> web.Application:
        """Return the API as an aiohttp application, to mount in another one."""
        return application(
            self._components, create_authorizer(listen_config, self._authenticator), listen_config.allowed_hosts
        )

    def wait_for_bind_attempt(self, timeout: float = 10.0) -> bool:
        """Wait until each port was tried once; return False after ``timeout`` seconds."""
        return self._server is None or self._server.wait_for_bind_attempt(timeout)

    def close(self, timeout: float = API_STOP_TIMEOUT) -> None:
        """Stop listening, and wait at most ``timeout`` seconds for the requests under way."""
        if self._server is not None:
            self._server.close(timeout)
