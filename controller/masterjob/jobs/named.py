"""Jobs by name, as the config file has them under ``jobs:`` and installed packages offer them.

    jobs:
      nightly: {exec: {command: [sh, -c, "make report"], environment: {LANG: C}, directory: /srv/report}}
      cleaner: {python: {entry: "shop.jobs:cleaner"}}
      remote:  {http: {start: https://host/start, stop: https://host/stop, timeout: 5s, retries: 3,
                       headers: {Authorization: {file: /run/secrets/token}, X-Team: {environment: TEAM}}}}

What a job runs is set here by whoever deploys us, never by a manifest (design 6.5).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from masterjob.election.errors import SettingError
from masterjob.election.ports import Job
from masterjob.election.values import lock_name
from masterjob.jobs.command.job import ExecJob
from masterjob.jobs.command.run import OWN_VARIABLES, Command
from masterjob.jobs.crew import Crew
from masterjob.jobs.entries import ENTRY, PythonSpec
from masterjob.jobs.entries import discovered as _offered
from masterjob.jobs.fields import Place, Where
from masterjob.jobs.http.exchange import CallFailed
from masterjob.jobs.http.job import RETRIES, TIMEOUT, Header, Hooks, HttpJob

MOST_JOBS, MOST_ITEMS, MOST_HEADERS = 10_000, 256, 64
URL_LIMIT, HEADER_LIMIT = 2048, 8192

_URL = re.compile(r"[!-~]+")  # no white space, nothing but ASCII
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE = re.compile(r"[ -~\t\xa0-\xff]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_OWN_HEADERS = frozenset({"connection", "content-length", "content-type", "expect", "host", "te"})
_OWN_HEADERS |= {"transfer-encoding", "upgrade", "user-agent", "x-fencing-token"}


class JobSpec(Protocol):
    """A job that locks can name."""

    @property
    def kind(self) -> str:
        """What it is: ``exec``, ``python`` or ``http``."""

    def check(self) -> None:
        """Find out now what would keep every start from succeeding, as far as that can be told without one.

        Raises:
            SettingError: it can never work.
        """

    def make(self, crew: Crew, stop_timeout: float) -> Job:
        """Return a job for one lock, whose stop may take ``stop_timeout`` seconds; each lock needs its own.

        Raises:
            SettingError: as `check`.
        """


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A command. Whether there is one is seen when it is started: it may be installed later."""

    command: Command
    kind = "exec"

    def check(self) -> None:
        """Nothing can be told before."""

    def make(self, crew: Crew, stop_timeout: float) -> Job:
        """Return a job of one lock."""
        return ExecJob(self.command, crew, stop_timeout)


@dataclass(frozen=True, slots=True)
class HttpSpec:
    """Two hooks. Files and variables of headers are read at each call: secrets may come late, and change."""

    hooks: Hooks
    kind = "http"

    def check(self) -> None:
        """Nothing can be told before."""

    def make(self, crew: Crew, stop_timeout: float) -> Job:
        """Return a job of one lock."""
        return HttpJob(self.hooks, crew, stop_timeout)


def parse(section: object, where: Where) -> dict[str, JobSpec]:
    """Return the jobs of a config file's ``jobs``, by name. Nothing is imported, started or read for it.

    ``where`` gets the path of a value within the section, names and list indices as text, and names its file,
    line and field.

    Raises:
        SettingError: something in it cannot be.
    """
    top = Place(section, (), where)
    return {_name(name, place): _spec(place) for name, place in top.entries(MOST_JOBS, "jobs by name").items()}


def discovered() -> dict[str, JobSpec]:
    """Return the jobs that installed packages offer as entry points of the group ``masterjob.jobs``, by name.

    Nothing of them is imported before `JobSpec.check` or `JobSpec.make`.

    Raises:
        SettingError: two packages offer different jobs of one name.
    """
    return dict(_offered())


def _name(name: str, place: Place) -> str:
    try:
        return lock_name(name)  # a job that is not named is the one with the lock's name
    except SettingError:
        raise place.wrong("is no name: it needs 1 to 200 characters, without white space around them") from None


def _spec(place: Place) -> JobSpec:
    kinds = place.fields(list(_READERS))
    if len(kinds) != 1:
        raise place.wrong(f"must have exactly one of {', '.join(_READERS)}")
    return next(_READERS[kind](field) for kind, field in kinds.items())


def _exec(place: Place) -> JobSpec:
    fields = place.fields(["command", "environment", "directory"])
    items = place.needed(fields, "command").items(MOST_ITEMS, '[sh, -c, "make report"]')
    argv = (items[0].some_text(), *(item.text() for item in items[1:]))
    environment = _environment(fields["environment"]) if "environment" in fields else {}
    directory = fields["directory"].some_text(4096) if "directory" in fields else None
    return ExecSpec(Command(argv, environment, directory))


def _environment(place: Place) -> Mapping[str, str]:
    values = place.entries(MOST_ITEMS, "variables of the command")
    for name, value in values.items():
        if not _VARIABLE.fullmatch(name):
            raise value.wrong("is no name of a variable: it needs letters, digits and _")
        if name in OWN_VARIABLES:
            raise value.wrong("cannot be set: it is what the command learns its term from")
    return {name: value.text() for name, value in values.items()}


def _python(place: Place) -> JobSpec:
    entry = place.needed(place.fields(["entry"]), "entry")
    text = entry.some_text(512)
    if not ENTRY.fullmatch(text):
        raise entry.wrong("must be of the form package.module:object")
    return PythonSpec(text, entry.where)


def _http(place: Place) -> JobSpec:
    fields = place.fields(["start", "stop", "headers", "timeout", "retries"])
    start = _url(place.needed(fields, "start"))
    stop = _url(fields["stop"]) if "stop" in fields else None
    headers = _headers(fields["headers"]) if "headers" in fields else {}
    timeout = fields["timeout"].duration(0.01, 300) if "timeout" in fields else TIMEOUT
    retries = fields["retries"].count(10) if "retries" in fields else RETRIES
    return HttpSpec(Hooks(start, stop, headers, timeout, retries))


_READERS = {"exec": _exec, "python": _python, "http": _http}


def _url(place: Place) -> str:
    """Return a URL that can be called; it is not repeated in an error, since it may hold a password."""
    text = place.some_text(URL_LIMIT)
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not _URL.fullmatch(text):
        raise place.wrong("must be a URL such as https://host/path, in ASCII characters")
    if "@" in parts.netloc:
        raise place.wrong(
            "has a user or password: write them as a header Authorization, from a file or environment"
        )
    if parts.fragment:
        raise place.wrong("has a fragment (#), which no service would get")
    return text


def _headers(place: Place) -> Mapping[str, Header]:
    entries = place.entries(MOST_HEADERS, "headers")
    if len({name.lower() for name in entries}) != len(entries):
        raise place.wrong("has a header twice: capitals make no difference")
    return {name: _header(name, entry) for name, entry in entries.items()}


def _header(name: str, place: Place) -> Header:
    if not _HEADER_NAME.fullmatch(name):
        raise place.wrong("is no name of a header")
    if name.lower() in _OWN_HEADERS:
        raise place.wrong("cannot be set: it is ours, or the connection's")
    if isinstance(place.value, Mapping):
        fields = place.fields(["file", "environment"])
        if len(fields) != 1:
            raise place.wrong("must be text, or have exactly one of file, environment")
        (source, field), *_ = fields.items()
        return _HeaderFrom(name, source, field.some_text(4096))
    text = place.text(HEADER_LIMIT)
    if not _HEADER_VALUE.fullmatch(text):
        raise place.wrong("has a character that a header cannot have")
    return lambda: text


@dataclass(frozen=True, slots=True)
class _HeaderFrom:
    """A header's value that is read anew for each call, and shown nowhere."""

    name: str
    source: str
    key: str

    def __call__(self) -> str:
        try:
            text = self._read().strip("\r\n")
        except (OSError, ValueError, KeyError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not there, or not text"
            raise CallFailed(f"header {self.name}: {self.source} {self.key}: {why}", again=False) from None
        if not _HEADER_VALUE.fullmatch(text) or len(text) > HEADER_LIMIT:
            why = f"it is longer than {HEADER_LIMIT} characters or has one that a header cannot have"
            raise CallFailed(f"header {self.name}: {self.source} {self.key}: {why}", again=False)
        return text

    def _read(self) -> str:
        if self.source == "environment":
            return os.environ[self.key]
        with Path(self.key).open(encoding="utf-8") as file:
            return file.read(HEADER_LIMIT + 3)
