"""The headers of hooks: text in the config file, or read from a file or the environment at each call."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from masterjob.config.fields import ENCODABLE, NOT_EMPTY, Field, TextRule, text
from masterjob.jobs.http.request import HeaderReader, HookFailed

MAX_HEADERS, HEADER_LIMIT = 64, 8192

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE = TextRule(r"[ -~\t\xa0-\xff]*", "has a character that is not allowed in a header")
_RESERVED_HEADERS = frozenset({"connection", "content-length", "content-type", "expect", "host", "te"})
_RESERVED_HEADERS |= {"transfer-encoding", "upgrade", "user-agent", "x-fencing-token"}


def parse_headers(field: Field) -> Mapping[str, HeaderReader]:
    """Return the readers of the headers in the config file. No file or variable is read yet.

    Raises:
        SettingError: a header is not valid.
    """
    entries = field.entries(MAX_HEADERS, "headers")
    if len({name.lower() for name in entries}) != len(entries):
        raise field.error("has a header twice: upper and lower case are the same")
    return {name: _parse_header(name, entry) for name, entry in entries.items()}


def _parse_header(name: str, field: Field) -> HeaderReader:
    if not _HEADER_NAME.fullmatch(name):
        raise field.error("is not a valid header name")
    if name.lower() in _RESERVED_HEADERS:
        raise field.error("cannot be set: masterjob or the connection sets it")
    if isinstance(field.value, Mapping):
        fields = field.fields(["file", "environment"])
        if len(fields) != 1:
            raise field.error("must be text, or have exactly one of file, environment")
        [(source, key)] = fields.items()
        return _ExternalHeader(name, source, text(4096, NOT_EMPTY, ENCODABLE)(key))
    value = text(HEADER_LIMIT, _HEADER_VALUE)(field)
    return lambda: value


@dataclass(frozen=True, slots=True)
class _ExternalHeader:
    """A header's value that is read again for each call and never displayed."""

    name: str
    source: str
    key: str

    def __call__(self) -> str:
        try:
            value = self._read().strip("\r\n")
        except (OSError, ValueError, KeyError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it does not exist or is not text"
            raise HookFailed(f"header {self.name}: {self.source} {self.key}: {reason}", retryable=False) from None
        if not re.fullmatch(_HEADER_VALUE.pattern, value) or len(value) > HEADER_LIMIT:
            reason = f"it is longer than {HEADER_LIMIT} characters or has one that is not allowed in a header"
            raise HookFailed(f"header {self.name}: {self.source} {self.key}: {reason}", retryable=False)
        return value

    def _read(self) -> str:
        if self.source == "environment":
            return os.environ[self.key]
        with Path(self.key).open(encoding="utf-8") as file:
            return file.read(HEADER_LIMIT + 3)
