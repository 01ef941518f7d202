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

from masterjob.config.documents import Document, FieldLocator, raise_if_unknown, read_document
from masterjob.errors import SettingError
from masterjob.web.access.certificates import file_fingerprint
from masterjob.web.interfaces import Actor, Verb

logger = logging.getLogger("masterjob")

MIN_TOKEN_LENGTH = 16
"""The fewest characters of a token."""

_ENTRY_KEYS = ("name", "role", "token", "sha256", "expires")
_MAX_TOKENS = 1_000


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
        SettingError: it cannot be read, or says what cannot be; no token is repeated in the message.
    """
    document = read_document(path, f"token file {path}")
    entries = _token_entries(document)
    tokens = [_parse_token(each, document.field_locator("tokens", number)) for number, each in enumerate(entries)]
    for number, each in enumerate(tokens):
        if any(each.digest == other.digest for other in tokens[:number]):
            raise SettingError(f"{document.locate(('tokens', number))} has the token of another one")
    return tokens


def _token_entries(document: Document) -> list[object]:
    data = document.data()
    if not isinstance(data, dict) or set(data) != {"tokens"} or not isinstance(data["tokens"], list):
        raise SettingError(f"{document.locate()} must hold a list of tokens, and nothing else")
    if len(data["tokens"]) > _MAX_TOKENS:
        raise SettingError(f"{document.locate(('tokens',))} are more than {_MAX_TOKENS}")
    return data["tokens"]


def _parse_token(entry: object, locate: FieldLocator) -> Token:
    if not isinstance(entry, dict):
        raise SettingError(f"{locate(())} must hold name, role and token")
    for key in entry:
        raise_if_unknown(key, _ENTRY_KEYS, locate((key,)))
    name, role = entry.get("name"), entry.get("role")
    if not isinstance(name, str) or not name.strip() or len(name) > 200 or not name.isprintable():
        raise SettingError(f"{locate(('name',))} must be a text of 1 to 200 characters")
    if role not in ("read", "write"):
        raise SettingError(f"{locate(('role',))} must be read or write")
    return Token(
        _parse_digest(entry, locate), name.strip(), role == "write", _parse_expiry(entry.get("expires"), locate)
    )


def _parse_digest(entry: dict[str, object], locate: FieldLocator) -> bytes:
    token, hexadecimal = entry.get("token"), entry.get("sha256")
    if (token is None) == (hexadecimal is None):
        raise SettingError(f"{locate(())} must have either token or sha256")
    if hexadecimal is not None:
        try:
            digest = bytes.fromhex(str(hexadecimal))
        except ValueError:
            digest = b""
        if len(digest) != hashlib.sha256().digest_size:
            raise SettingError(f"{locate(('sha256',))} must be 64 hexadecimal digits")
        return digest
    if (
        not isinstance(token, str)
        or len(token) < MIN_TOKEN_LENGTH
        or not token.isascii()
        or not token.isprintable()
    ):
        raise SettingError(f"{locate(('token',))} must be a text of at least {MIN_TOKEN_LENGTH} plain characters")
    return hashlib.sha256(token.encode()).digest()


def _parse_expiry(value: object, locate: FieldLocator) -> datetime | None:
    if value is None:
        return None
    try:
        expires_at = datetime.fromisoformat(str(value))
    except ValueError:
        expires_at = None
    if expires_at is None or expires_at.tzinfo is None:
        raise SettingError(f"{locate(('expires',))} must be a time like 2030-01-31T12:00:00Z")
    return expires_at
