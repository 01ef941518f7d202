"""Where the URL of the database is: in a setting, in a file, or in the pieces that a Secret of an operator has.

A file is read when it is needed, so the process keeps its path and not its content.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from masterjob.config.fields import Field
from masterjob.config.redact import redact_url
from masterjob.errors import SettingError

URL_VARIABLE = "MASTERJOB_DATABASE_URL"
URL_FILE_VARIABLE = "MASTERJOB_DATABASE_URL_FILE"
_PREFIX = "MASTERJOB_DATABASE_"
_PIECES = ("SCHEME", "HOST", "PORT", "NAME", "USER", "PASSWORD", "PASSWORD_FILE", "OPTIONS")
_SERVICE_LINK = "tcp://"
"""The beginning of MASTERJOB_DATABASE_PORT if Kubernetes sets it, for a Service named masterjob-database."""
_MAX_FILE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class DatabaseLocation:
    """The URL of the database, or the paths of the files that hold the URL or its password."""

    url: str = field(default="", repr=False)
    url_file: str = ""
    password_file: str = ""

    def __bool__(self) -> bool:
        return bool(self.url or self.url_file)

    def __str__(self) -> str:
        return f"the URL in {self.url_file}" if self.url_file else redact_url(self.url)

    def read_url(self) -> str:
        """Return the URL as it is now, with its password.

        Raises:
            SettingError: a file cannot be read, or is empty.
        """
        url = _read(self.url_file, "the file of the database URL") if self.url_file else self.url
        if not self.password_file:
            return url
        password = quote(_read(self.password_file, "the file of the database's password"), safe="")
        scheme, _, rest = url.partition("://")
        user, at_sign, location = rest.rpartition("@")
        return f"{scheme}://{user}:{password}@{location if at_sign else rest}"


class LocatedDatabase(NamedTuple):
    """The location of a database, and in words where it was set."""

    location: DatabaseLocation
    origin: str


def resolve_location(
    arguments: Mapping[str, Field], environ: Mapping[str, str], section: Field
) -> LocatedDatabase | None:
    """Return the location from the first level that has one: the arguments, the environment, the config file.

    ``arguments`` and the section have ``database`` and ``database_file`` or ``databaseFile``; the environment has
    the pieces too.

    Raises:
        SettingError: one level has two locations, or a value is not valid.
    """
    url, url_file = _variable(environ, URL_VARIABLE), _variable(environ, URL_FILE_VARIABLE)
    pieces = _set_pieces(environ)
    return (
        _one_of(arguments["database"], arguments["database_file"])
        or _one_of(url, url_file, next(iter(pieces.values()), None))
        or _from_pieces(pieces)
        or _one_of(section["database"], section["databaseFile"])
    )


def parse_database_url(field: Field) -> str:
    """Return a text that may be a database URL; `masterjob.store` checks the rest."""
    if not isinstance(field.value, str) or "://" not in field.value:  # not repeated: it may hold a password
        raise field.error("must be a database URL, such as postgresql://user:password@host/name")
    return field.value.strip()


def parse_path(field: Field) -> str:
    """Return the path of a file."""
    if not isinstance(field.value, str | Path) or "://" in str(field.value) or not str(field.value).strip():
        raise field.error("must be the path of a file that holds the database URL")
    return str(field.value).strip()


def _one_of(url: Field, file: Field, piece: Field | None = None) -> LocatedDatabase | None:
    given = [each for each in (url, file) if each.value is not None]
    both = [*given, piece] if given and piece is not None else given
    if len(both) > 1:
        raise SettingError(f"{both[0].location} and {both[1].location} both name the database: keep one of them")
    if url.value is not None:
        return LocatedDatabase(DatabaseLocation(parse_database_url(url)), url.location)
    if file.value is not None:
        return LocatedDatabase(DatabaseLocation(url_file=parse_path(file)), file.location)
    return None


# --- the pieces


def _variable(environ: Mapping[str, str], name: str) -> Field:
    return Field(environ.get(name, "").strip() or None, (), locate=lambda _: f"environment {name}")


def _set_pieces(environ: Mapping[str, str]) -> dict[str, Field]:
    fields = {piece: _variable(environ, _PREFIX + piece) for piece in _PIECES}
    return {
        piece: field
        for piece, field in fields.items()
        if field.value is not None and not (piece == "PORT" and str(field.value).startswith(_SERVICE_LINK))
    }


def _from_pieces(pieces: Mapping[str, Field]) -> LocatedDatabase | None:
    if not pieces:
        return None
    if "HOST" not in pieces:
        first = next(iter(pieces.values())).location
        raise SettingError(f"{first} is set, but {_PREFIX}HOST is not: the host is missing")
    if "PASSWORD" in pieces and "PASSWORD_FILE" in pieces:
        raise pieces["PASSWORD"].error(f"is set beside {_PREFIX}PASSWORD_FILE: keep one of them")
    values = {piece: str(field.value) for piece, field in pieces.items()}
    location = DatabaseLocation(_compose(values), password_file=values.get("PASSWORD_FILE", ""))
    return LocatedDatabase(location, pieces["HOST"].location)


def _compose(values: Mapping[str, str]) -> str:
    user, password = quote(values.get("USER", ""), safe=""), quote(values.get("PASSWORD", ""), safe="")
    credentials = f"{user}:{password}@" if password else f"{user}@" if user else ""
    options = values.get("OPTIONS", "").removeprefix("?")
    return (
        f"{values.get('SCHEME', 'postgresql').removesuffix('://')}://{credentials}"
        f"{_hosts(values['HOST'], values.get('PORT', ''))}/{quote(values.get('NAME', ''), safe='')}"
        f"{options and '?'}{options}"
    )


def _hosts(hosts: str, port: str) -> str:
    """Return the hosts of the URL; the port is that of every host without its own."""
    return ",".join(_host(each.strip(), port) for each in hosts.split(","))


def _host(host: str, port: str) -> str:
    if host.startswith("/"):
        host = quote(host, safe="")
    elif host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    has_port = ":" in host.rpartition("]")[2]
    return host if has_port or not port else f"{host}:{port}"


def _read(path: str, what: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        text = content.decode().strip()
    except (OSError, UnicodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise SettingError(f"{what}, {path}, cannot be read: {reason}") from None
    if not text or len(content) > _MAX_FILE_BYTES:
        raise SettingError(f"{what}, {path}, {'is empty' if not text else 'is too long'}")
    return text
