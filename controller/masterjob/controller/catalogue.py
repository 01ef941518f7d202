"""The jobs that manifests and resources may name here: of installed packages, and of the config file."""

import logging

from masterjob.documents import Document
from masterjob.election.errors import SettingError
from masterjob.jobs import named
from masterjob.jobs.named import JobSpec
from masterjob.settings import config_section

logger = logging.getLogger("masterjob")


def known_jobs(document: Document | None) -> dict[str, JobSpec]:
    """Return the jobs that installed packages offer and that the config file names, which win.

    One that is wrong is told, and the others are there all the same.
    """
    jobs = named.discovered()
    section = {} if document is None else config_section(document, "jobs")
    for name, entry in section.items():
        assert document is not None  # noqa: S101 - it has a section
        try:
            jobs.update(named.parse({name: entry}, document.below("jobs")))
        except SettingError as error:
            logger.warning("%s", error)
    return jobs
