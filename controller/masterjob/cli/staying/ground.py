"""What ``run`` and ``operator`` stand on: the log, the settings and jobs, and the control API."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from masterjob.cli.options import CONFIG_SECTIONS, DatabaseOptions, database_of
from masterjob.cli.staying.api import ApiOptions
from masterjob.cli.staying.logs import LogOptions
from masterjob.controller.catalogue import known_jobs
from masterjob.documents import unknown_names
from masterjob.main import this_process
from masterjob.masking import masked
from masterjob.settings import Settings, config_document, resolve
from masterjob.web.ports import Authenticator, Check

if TYPE_CHECKING:
    from masterjob.serving import Api

logger = logging.getLogger("masterjob")


class Ground:
    """Made of what was typed, before anything is begun: what is wrong with that is said first.

    Raises:
        SettingError: an option, the environment or the config file says something that cannot be.
    """

    def __init__(self, database: DatabaseOptions, log: LogOptions, api: ApiOptions) -> None:
        log.set_up()
        sys.path.append(str(Path.cwd()))  # Python jobs may be modules of the folder that this is started in
        self._database = database
        self._document = config_document(os.environ, database.config)
        self._listening = api.listening(self._document)
        self.jobs = known_jobs(self._document)
        for each in () if self._document is None else unknown_names(self._document, CONFIG_SECTIONS):
            logger.warning("%s; it is passed over", each)
        database_of(self.settings({}))  # one that cannot be is refused here, with where it was written

    def settings(self, options: Mapping[str, object]) -> Settings:
        """Return the settings in effect where a manifest or resource sets these."""
        return resolve({**self._database.as_settings(), **options}, os.environ, self._document)

    def say_hello(self, who: str, followed: str) -> None:
        """Say who follows what, on which database, with which jobs."""
        url, jobs = masked(self.settings({}).database), ", ".join(sorted(self.jobs)) or "none"
        logger.info("%s (pid %s) follows %s on %s; jobs: %s", who, os.getpid(), followed, url, jobs)

    def serve(self, checks: Sequence[Check], authenticator: Authenticator | None = None) -> "Api":
        """Have the control API of this process listen, and see what its instances do; see `masterjob.serving.Api`.

        Raises:
            SettingError: a certificate or the file of tokens is wrong.
        """
        from masterjob.serving import Api  # noqa: PLC0415 - other commands need not wait for aiohttp

        api = Api(this_process(), self._database.switchboard, checks, authenticator)
        api.start(self._listening)
        return api
