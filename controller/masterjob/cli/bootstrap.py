"""What ``run`` and ``operator`` share: logging, settings and jobs, and the control API."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from masterjob.cli.api_options import ApiOptions
from masterjob.cli.log import LogOptions
from masterjob.cli.options import CONFIG_SECTIONS, DatabaseOptions, create_database
from masterjob.cli.signals import ShutdownSignals
from masterjob.config.documents import describe_unknown_names
from masterjob.config.settings import Settings, load_config_document, resolve_settings
from masterjob.errors import StoreRefused
from masterjob.jobs.registry import known_jobs
from masterjob.runtime.runtime import current_runtime
from masterjob.web.interfaces import Authenticator, ReadinessCheck

logger = logging.getLogger("masterjob")


class Bootstrap:
    """The options, checked before anything is started.

    Raises:
        SettingError: an option, an environment variable or the config file is not valid.
    """

    def __init__(self, database: DatabaseOptions, log: LogOptions, api: ApiOptions) -> None:
        log.configure()
        sys.path.append(str(Path.cwd()))  # Python jobs may be modules in the working directory
        self._database = database
        self._document = load_config_document(os.environ, database.config)
        self._listen_config = api.listen_config(self._document)
        self.jobs = known_jobs(self._document)
        for each in () if self._document is None else describe_unknown_names(self._document, CONFIG_SECTIONS):
            logger.warning("%s; it is ignored", each)
        create_database(self.settings_for({}))  # refuses a URL that is not valid, and says where it was set

    def settings_for(self, options: Mapping[str, object]) -> Settings:
        """Return the settings in effect for the options of a resource."""
        return resolve_settings({**self._database.as_settings(), **options}, os.environ, self._document)

    def log_startup(self, program: str, target: str) -> None:
        """Log what this process follows, on which database, with which jobs."""
        database, jobs = self.settings_for({}).database, ", ".join(sorted(self.jobs)) or "none"
        logger.info("%s (pid %s) follows %s on %s; jobs: %s", program, os.getpid(), target, database, jobs)

    def end_if_refused(self, signals: ShutdownSignals) -> None:
        """End `wait_for_end` if the database refuses this process before it was ever usable.

        An outage is waited for: at the start of a machine, the database may start later than this process.
        """
        location = self.settings_for({}).database

        def fail(error: StoreRefused) -> None:
            signals.fail(StoreRefused(error.refusal, f"{error} ({location})"))

        current_runtime().outage_log(location).on_refused_at_start(fail)

    def start_control_api(
        self, readiness_checks: Sequence[ReadinessCheck], authenticator: Authenticator | None = None
    ) -> None:
        """Start the control API of this process, which closes last in the shutdown.

        Raises:
            SettingError: a certificate or the file of tokens is not valid.
        """
        from masterjob.app.control_api import ControlApi  # noqa: PLC0415 - other commands do not need aiohttp

        runtime, settings = current_runtime(), self.settings_for({})
        lock_admin = create_database(settings, runtime.outage_log(settings.database)).lock_admin(
            on_write=partial(runtime.notify_elector, settings.database)
        )
        api = ControlApi(runtime, lock_admin, readiness_checks, authenticator)
        api.start(self._listen_config)
        runtime.add_shutdown_hook(after=api.close)


def wait_for_end(signals: ShutdownSignals) -> None:
    """Wait for the first signal, then shut down.

    Raises:
        StoreRefused: the database has refused this process; see `Bootstrap.end_if_refused`.
    """
    runtime = current_runtime()
    try:
        reason = signals.wait()
    except StoreRefused:
        runtime.shutdown("the database refuses this process")
        raise
    runtime.shutdown(reason)
