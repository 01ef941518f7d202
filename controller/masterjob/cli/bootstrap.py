"""What ``run`` and ``operator`` stand on: the log, the settings and jobs, and the control API."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from masterjob.app.library import current_runtime
from masterjob.cli.api_options import ApiOptions
from masterjob.cli.log import LogOptions
from masterjob.cli.options import CONFIG_SECTIONS, DatabaseOptions, create_database
from masterjob.config.documents import describe_unknown_names
from masterjob.config.redact import redact_url
from masterjob.config.settings import Settings, load_config_document, resolve_settings
from masterjob.jobs.registry import known_jobs
from masterjob.web.interfaces import Authenticator, ReadinessCheck

if TYPE_CHECKING:
    from masterjob.app.control_api import ControlApi

logger = logging.getLogger("masterjob")


class Bootstrap:
    """Made of what was typed, before anything is begun: what is wrong with that is said first.

    Raises:
        SettingError: an option, the environment or the config file says something that cannot be.
    """

    def __init__(self, database: DatabaseOptions, log: LogOptions, api: ApiOptions) -> None:
        log.configure()
        sys.path.append(str(Path.cwd()))  # Python jobs may be modules of the folder that this is started in
        self._database = database
        self._document = load_config_document(os.environ, database.config)
        self._listen_config = api.listen_config(self._document)
        self.jobs = known_jobs(self._document)
        for each in () if self._document is None else describe_unknown_names(self._document, CONFIG_SECTIONS):
            logger.warning("%s; it is passed over", each)
        create_database(self.settings_for({}))  # one that cannot be is refused here, with where it was written

    def settings_for(self, options: Mapping[str, object]) -> Settings:
        """Return the settings in effect where a manifest or resource sets these."""
        return resolve_settings({**self._database.as_settings(), **options}, os.environ, self._document)

    def log_startup(self, program: str, target: str) -> None:
        """Say who follows what, on which database, with which jobs."""
        url, jobs = redact_url(self.settings_for({}).database), ", ".join(sorted(self.jobs)) or "none"
        logger.info("%s (pid %s) follows %s on %s; jobs: %s", program, os.getpid(), target, url, jobs)

    def start_control_api(
        self, readiness_checks: Sequence[ReadinessCheck], authenticator: Authenticator | None = None
    ) -> "ControlApi":
        """Have the control API of this process listen, and see what its instances do; see
        `masterjob.app.control_api.ControlApi`.

        Raises:
            SettingError: a certificate or the file of tokens is wrong.
        """
        from masterjob.app.control_api import ControlApi  # noqa: PLC0415 - other commands need not wait for aiohttp

        lock_admin = create_database(self.settings_for({})).lock_admin()
        api = ControlApi(current_runtime(), lock_admin, readiness_checks, authenticator)
        api.start(self._listen_config)
        return api
