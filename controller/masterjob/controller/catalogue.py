"""The jobs that manifests and resources may name here: of installed packages, and of the config file."""

import logging

from masterjob.config.documents import Document
from masterjob.config.settings import config_section
from masterjob.errors import SettingError
from masterjob.jobs import registry
from masterjob.jobs.registry import JobSpec

logger = logging.getLogger("masterjob")


def known_jobs(document: Document | None) -> dict[str, JobSpec]:
    """Return the jobs that installed packages offer and that the config file names, which win.

    One that is wrong is told, and the others are there all the same.
    """
    jobs = registry.discover_jobs()
    section = {} if document is None else config_section(document, "jobs")
    for name, entry in section.items():
        assert document is not None  # noqa: S101 - it has a section
        try:
            jobs.update(registry.parse_jobs({name: entry}, document.field_locator("jobs")))
        except SettingError as error:
            logger.warning("%s", error)
    return jobs
