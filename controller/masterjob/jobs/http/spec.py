"""Hooks as the config file has them.

remote: {http: {start: https://host/start, stop: https://host/stop, timeout: 5s, retries: 3,
                check: {url: https://host/running, interval: 10s, timeout: 2s, failures: 3},
                headers: {Authorization: {file: /run/secrets/token}, X-Team: {environment: TEAM}}}}
"""

from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.config.fields import Field, TextRule, duration, text, whole_number
from masterjob.election.ports import Job
from masterjob.jobs.http.call import DEFAULT_RETRIES, DEFAULT_TIMEOUT, Hooks
from masterjob.jobs.http.check import DEFAULT_FAILURES, DEFAULT_INTERVAL, Check
from masterjob.jobs.http.check import DEFAULT_TIMEOUT as DEFAULT_CHECK_TIMEOUT
from masterjob.jobs.http.headers import parse_headers
from masterjob.jobs.http.run import HttpRun
from masterjob.jobs.policy import refuse_fields
from masterjob.jobs.run import JobRunner

URL_LIMIT = 2048

_ASCII_URL = TextRule(r"[!-~]+", "must be a URL such as https://host/path, in ASCII characters")

_REFUSED = {
    "restart": "does not apply to http: a service does not exit; with a check, one that restarts is started again",
    "once": "does not apply to http: a service cannot complete its work; use a command, or a Python job with run",
    "startSeconds": "does not apply to http: the job is running when its start, and its check, were answered",
}


@dataclass(frozen=True, slots=True)
class HttpSpec:
    """Two hooks. Headers from files and variables are read at each call: secrets may come late, and change."""

    hooks: Hooks

    def create_job(self, pool: ThreadPool, stop_timeout: float) -> Job:
        """Return the job of one lock."""
        pool.ensure_idle_thread()  # now: when the interpreter exits, no thread can be started any more
        return JobRunner(partial(HttpRun, self.hooks, pool), stop_timeout)


def parse_spec(field: Field) -> HttpSpec:
    """Return the spec that the config file has.

    Raises:
        SettingError: a field is not valid.
    """
    refuse_fields(field, _REFUSED)
    field.check_names(["start", "stop", "headers", "timeout", "retries", "check"])
    return HttpSpec(
        Hooks(
            start=field["start"].required(_parse_url),
            stop=field["stop"].optional(_parse_url, None),
            headers=field["headers"].optional(parse_headers, {}),
            timeout=field["timeout"].optional(duration(0.01, 300), DEFAULT_TIMEOUT),
            retries=field["retries"].optional(whole_number(0, 10), DEFAULT_RETRIES),
            check=field["check"].optional(_parse_check, None),
        )
    )


def _parse_check(field: Field) -> Check:
    field.check_names(["url", "interval", "timeout", "failures"])
    return Check(
        url=field["url"].required(_parse_url),
        interval=field["interval"].optional(duration(0.1, 3600), DEFAULT_INTERVAL),
        timeout=field["timeout"].optional(duration(0.01, 300), DEFAULT_CHECK_TIMEOUT),
        failures=field["failures"].optional(whole_number(1, 100), DEFAULT_FAILURES),
    )


def _parse_url(field: Field) -> str:
    """Return a URL that can be called. Errors do not repeat it: it may hold a password."""
    url = text(URL_LIMIT, _ASCII_URL)(field)
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise field.error(_ASCII_URL.problem)
    if "@" in parts.netloc:
        raise field.error("has a user or password: use a header Authorization, from a file or the environment")
    if parts.fragment:
        raise field.error("has a fragment (#), which is not sent to the service")
    return url
