"""The headers of hooks: text of the config file, or read from a file or the environment at each call."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from masterjob.config.fields import Field
from masterjob.jobs.http.hooks import HeaderReader
from masterjob.jobs.http.request import HookFailed

MAX_HEADERS, HEADER_LIMIT = 64, 8192

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE = re.compile(r"[ -~\t\xa0-\xff]*")
_RESERVED_HEADERS = frozenset({"connection", "content-length", "content-type", "expect", "host", "te"})
_RESERVED_HEADERS |= {"transfer-encoding", "upgrade", "user-agent", "x-fencing-token"}


def parse_headers(field: Field) -> Mapping[str, HeaderReader]:
    """Return what stands in the config file; nothing of it is read from elsewhere yet.

    Raises:
        SettingError: one of them cannot be.
    """
    entries = field.entries(MAX_HEADERS, "headers")
    if len({name.lower() for name in entries}) != len(entries):
        raise field.error("has a header twice: capitals make no difference")
    return {name: _parse_header(name, entry) for name, entry in entries.items()}


def _parse_header(name: str, field: Field) -> HeaderReader:
    if not _HEADER_NAME.fullmatch(name):
        raise field.error("is no name of a header")
    if name.lower() in _RESERVED_HEADERS:
        raise field.error("cannot be set: it is ours, or the connection's")
    if isinstance(field.value, Mapping):
        fields = field.fields(["file", "environment"])
        if len(fields) != 1:
            raise field.error("must be text, or have exactly one of file, environment")
        [(source, key)] = fields.items()
        return _ExternalHeader(name, source, key.nonempty_text(4096))
    text = field.text(HEADER_LIMIT)
    if not _HEADER_VALUE.fullmatch(text):
        raise field.error("has a character that a header cannot have")
    return lambda: text


@dataclass(frozen=True, slots=True)
class _ExternalHeader:
    """A header's value that is read anew for each call, and shown nowhere."""

    name: str
    source: str
    key: str

    def __call__(self) -> str:
        try:
            text = self._read().strip("\r\n")
        except (OSError, ValueError, KeyError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not there, or not text"
            raise HookFailed(f"header {self.name}: {self.source} {self.key}: {reason}", retryable=False) from None
        if not _HEADER_VALUE.fullmatch(text) or len(text) > HEADER_LIMIT:
            reason = f"it is longer than {HEADER_LIMIT} characters or has one that a header cannot have"
            raise HookFailed(f"header {self.name}: {self.source} {self.key}: {reason}", retryable=False)
        return text

    def _read(self) -> str:
        if self.source == "environment":
            return os.environ[self.key]
        with Path(self.key).open(encoding="utf-8") as file:
            return file.read(HEADER_LIMIT + 3)
