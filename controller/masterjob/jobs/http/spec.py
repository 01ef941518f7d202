"""Hooks as the config file names them.

remote: {http: {start: https://host/start, stop: https://host/stop, timeout: 5s, retries: 3,
                headers: {Authorization: {file: /run/secrets/token}, X-Team: {environment: TEAM}}}}
"""

import re
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.config.fields import Field
from masterjob.election.ports import Job
from masterjob.jobs.http.headers import parse_headers
from masterjob.jobs.http.hooks import DEFAULT_RETRIES, DEFAULT_TIMEOUT, Hooks
from masterjob.jobs.http.run import HttpRun
from masterjob.jobs.run import JobRunner

URL_LIMIT = 2048

_URL = re.compile(r"[!-~]+")  # no white space, nothing but ASCII


@dataclass(frozen=True, slots=True)
class HttpSpec:
    """Two hooks. Headers from files and variables are read at each call: secrets may come late, and change."""

    hooks: Hooks

    def create_job(self, pool: ThreadPool, stop_timeout: float) -> Job:
        """Return the job of one lock."""
        pool.ensure_idle_thread()  # now: when the interpreter exits, no thread can be started any more
        return JobRunner(partial(HttpRun, self.hooks, pool), stop_timeout)


def parse_spec(field: Field) -> HttpSpec:
    """Return what stands in the config file.

    Raises:
        SettingError: something of it cannot be.
    """
    fields = field.fields(["start", "stop", "headers", "timeout", "retries"], required=["start"])
    start = _parse_url(fields["start"])
    stop = _parse_url(fields["stop"]) if "stop" in fields else None
    headers = parse_headers(fields["headers"]) if "headers" in fields else {}
    timeout = fields["timeout"].duration(0.01, 300) if "timeout" in fields else DEFAULT_TIMEOUT
    retries = fields["retries"].count(10) if "retries" in fields else DEFAULT_RETRIES
    return HttpSpec(Hooks(start, stop, headers, timeout, retries))


def _parse_url(field: Field) -> str:
    """Return a URL that can be called; it is not repeated in an error, since it may hold a password."""
    text = field.nonempty_text(URL_LIMIT)
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or not _URL.fullmatch(text):
        raise field.error("must be a URL such as https://host/path, in ASCII characters")
    if "@" in parts.netloc:
        raise field.error(
            "has a user or password: write them as a header Authorization, from a file or environment"
        )
    if parts.fragment:
        raise field.error("has a fragment (#), which no service would get")
    return text
