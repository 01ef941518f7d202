"""The file of tokens: who may read or switch, and until when; read again whenever it changes.

    tokens:
      - {name: ann, role: write, token: 6f1c…}                 # openssl rand -hex 32
      - {name: grafana, role: read, sha256: 9a7d…, expires: 2030-01-31T12:00:00Z}

A token stands there itself or as its SHA-256 in hexadecimal. Comparing takes the same time wherever it differs,
and whoever it is. A file that cannot be read or is wrong lets nobody in until it is right again: who takes a
token back with a slip of the pen must not find it still in force.
"""

import hashlib
import hmac
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from masterjob.documents import Document, Where, read_one, refuse_unknown
from masterjob.election.errors import SettingError
from masterjob.web.access.changes import mark
from masterjob.web.ports import Actor, Verb

logger = logging.getLogger("masterjob")

SHORTEST = 16
"""Characters that a token has at least."""

_KEYS = ("name", "role", "token", "sha256", "expires")
_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Token:
    """One line of the file."""

    digest: bytes
    name: str
    writes: bool
    expires: datetime | None = None


class TokenFile:
    """An `Authenticator` by a file of tokens.

    Raises:
        SettingError: the file is wrong at the start.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._now = now
        self._seen = mark(path)
        self._tokens = read(path)

    def authenticate(self, token: str) -> Actor | None:
        """Return whose token this is, if it is in force."""
        found = self._find(token)
        return None if found is None else Actor(found.name, groups=("write" if found.writes else "read",))

    def allowed(self, actor: Actor, verb: Verb, lock_name: str | None) -> bool:
        """Tell whether the token's role is enough."""
        return verb is Verb.READ or "write" in actor.groups

    def _find(self, token: str) -> Token | None:
        self._read_again()
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found = None
        for each in self._tokens:  # all of them, whichever it is
            if hmac.compare_digest(each.digest, digest):
                found = each
        return None if found is None or (found.expires and found.expires <= self._now()) else found

    def _read_again(self) -> None:
        found = mark(self._path)
        if found == self._seen:
            return
        self._seen = found
        try:
            self._tokens = read(self._path)
        except SettingError as error:
            self._tokens = []
            logger.warning("nobody is let in to the control API until the file of tokens is right: %s", error)
        else:
            logger.info("the file of tokens was read again; it has %s", len(self._tokens))


def read(path: Path) -> Sequence[Token]:
    """Read the file.

    Raises:
        SettingError: it cannot be read, or says what cannot be; no token is repeated in the message.
    """
    document = read_one(path, f"token file {path}")
    entries = _entries(document)
    tokens = [_token(each, document.below("tokens", number)) for number, each in enumerate(entries)]
    for number, each in enumerate(tokens):
        if any(each.digest == other.digest for other in tokens[:number]):
            raise SettingError(f"{document.where(('tokens', number))} has the token of another one")
    return tokens


def _entries(document: Document) -> list[object]:
    data = document.data()
    if not isinstance(data, dict) or set(data) != {"tokens"} or not isinstance(data["tokens"], list):
        raise SettingError(f"{document.where()} must hold a list of tokens, and nothing else")
    if len(data["tokens"]) > _MOST:
        raise SettingError(f"{document.where(('tokens',))} are more than {_MOST}")
    return data["tokens"]


def _token(entry: object, where: Where) -> Token:
    if not isinstance(entry, dict):
        raise SettingError(f"{where(())} must hold name, role and token")
    for key in entry:
        refuse_unknown(key, _KEYS, where((key,)))
    name, role = entry.get("name"), entry.get("role")
    if not isinstance(name, str) or not name.strip() or len(name) > 200 or not name.isprintable():
        raise SettingError(f"{where(('name',))} must be a text of 1 to 200 characters")
    if role not in ("read", "write"):
        raise SettingError(f"{where(('role',))} must be read or write")
    return Token(_digest(entry, where), name.strip(), role == "write", _expires(entry.get("expires"), where))


def _digest(entry: dict[str, object], where: Where) -> bytes:
    token, hexadecimal = entry.get("token"), entry.get("sha256")
    if (token is None) == (hexadecimal is None):
        raise SettingError(f"{where(())} must have either token or sha256")
    if hexadecimal is not None:
        try:
            digest = bytes.fromhex(str(hexadecimal))
        except ValueError:
            digest = b""
        if len(digest) != hashlib.sha256().digest_size:
            raise SettingError(f"{where(('sha256',))} must be 64 hexadecimal digits")
        return digest
    if not isinstance(token, str) or len(token) < SHORTEST or not token.isascii() or not token.isprintable():
        raise SettingError(f"{where(('token',))} must be a text of at least {SHORTEST} plain characters")
    return hashlib.sha256(token.encode()).digest()


def _expires(value: object, where: Where) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise SettingError(f"{where(('expires',))} must be a time like 2030-01-31T12:00:00Z")
    return moment
