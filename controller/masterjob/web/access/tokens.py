"""The token file: who may read or switch, and until when. It is read again when it changes.

    tokens:
      - {name: ann, role: write, token: 6f1c…}                 # openssl rand -hex 32
      - {name: grafana, role: read, sha256: 9a7d…, expires: 2030-01-31T12:00:00Z}

The file holds each token itself or its SHA-256 in hexadecimal. A comparison takes the same time whichever token it
is and wherever it differs. If the file cannot be read or is not valid, no token is accepted until it is fixed:
otherwise a token that was removed from the file would still work because of a mistake elsewhere in it.
"""

import hashlib
import hmac
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from masterjob.config.documents import read_document
from masterjob.config.fields import MAX_TEXT_LENGTH, NOT_BLANK, Field, TextRule, text, timestamp
from masterjob.errors import SettingError
from masterjob.web.access.certificates import file_fingerprint
from masterjob.web.interfaces import Actor, Verb

logger = logging.getLogger("masterjob")

MIN_TOKEN_LENGTH = 16
"""The fewest characters of a token."""

_MAX_TOKENS = 1_000
_ROLE = TextRule(r"read|write", "must be read or write")
_TOKEN = TextRule(rf"[ -~]{{{MIN_TOKEN_LENGTH},}}", f"must have at least {MIN_TOKEN_LENGTH} ASCII characters")


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of the file."""

    digest: bytes
    name: str
    can_write: bool
    expires_at: datetime | None = None


class TokenFile:
    """An `Authenticator` that knows the tokens of a file. It never blocks for long: the file is small and local.

    Raises:
        SettingError: the file cannot be read or is not valid at the start.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._now = now
        self._fingerprint = file_fingerprint(path)
        self._tokens = read_tokens(path)

    def authenticate(self, token: str) -> Actor | None:
        """Return the actor of this token; None if it is not in the file or has expired."""
        matched = self._find_token(token)
        return None if matched is None else Actor(matched.name, groups=("write" if matched.can_write else "read",))

    def allowed(self, actor: Actor, verb: Verb, lock_name: str | None) -> bool:
        """Return whether the token's role permits the verb."""
        return verb is Verb.READ or "write" in actor.groups

    def _find_token(self, token: str) -> Token | None:
        self._reload_if_changed()
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        matched = None
        for candidate in self._tokens:  # all of them: the time must not depend on which one it is
            if hmac.compare_digest(candidate.digest, digest):
                matched = candidate
        return None if matched is None or (matched.expires_at and matched.expires_at <= self._now()) else matched

    def _reload_if_changed(self) -> None:
        fingerprint = file_fingerprint(self._path)
        if fingerprint == self._fingerprint:
            return
        self._fingerprint = fingerprint
        try:
            self._tokens = read_tokens(self._path)
        except SettingError as error:
            self._tokens = []
            logger.warning("the control API accepts no token until the token file is valid again: %s", error)
        else:
            logger.info("the token file was read again: %s tokens", len(self._tokens))


def read_tokens(path: Path) -> Sequence[Token]:
    """Read the file.

    Raises:
        SettingError: it cannot be read, or is not valid; the message repeats no token.
    """
    document = read_document(path, f"token file {path}")
    root = Field(document.data, (), document.locate)
    root.check_names(["tokens"])
    entries = root["tokens"].required(
        lambda field: field.items(_MAX_TOKENS, "[{name: ann, role: read, token: …}]")
    )
    tokens = [_parse_token(each) for each in entries]
    for number, each in enumerate(tokens):
        if any(each.digest == other.digest for other in tokens[:number]):
            raise entries[number].error("has the token of another entry")
    return tokens


def _parse_token(entry: Field) -> Token:
    given = entry.fields(["name", "role", "token", "sha256", "expires"])
    if ("token" in given) == ("sha256" in given):
        raise entry.error("must have either token or sha256")
    return Token(
        digest=_parse_digest(given["sha256"]) if "sha256" in given else _token_digest(given["token"]),
        name=entry["name"].required(_parse_name),
        can_write=entry["role"].required(text(MAX_TEXT_LENGTH, _ROLE)) == "write",
        expires_at=entry["expires"].optional(timestamp, None),
    )


def _parse_name(field: Field) -> str:
    name = text(200, NOT_BLANK)(field)
    if not name.isprintable():
        raise field.error("has a character that cannot be printed")
    return name.strip()


def _token_digest(field: Field) -> bytes:
    return hashlib.sha256(text(MAX_TEXT_LENGTH, _TOKEN)(field).encode()).digest()


def _parse_digest(field: Field) -> bytes:
    try:
        digest = bytes.fromhex(str(field.value))
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise field.error("must be 64 hexadecimal digits")
    return digest
