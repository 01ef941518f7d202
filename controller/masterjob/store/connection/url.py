"""The text of a database URL, split into its parts, in the forms that libpq, SQLAlchemy and clouds write.

No error repeats any of the text: where a URL is written wrongly, any piece of it may be a piece of the password.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from masterjob.errors import SettingError

EXAMPLES = (
    "write it like postgresql://user:password@host/database, mysql://user:password@host/database, "
    "mariadb://user:password@host/database or sqlite:////path/to/file "
    "(drivers: psycopg, pymysql, mysqldb, Python's own sqlite3)"
)
ENCODE = "in a user name or password, write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25"

_AUTHORITY_END = re.compile(r"[/?#]")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%a-z]+\]|[^:\[\]\s]*)(?::(?P<port>[0-9]*))?")
_MAX_HOSTS = 32


class Endpoint(NamedTuple):
    """A host and its port.

    ``host`` is a name, an IP address, the absolute path of a socket, or empty for the driver's default;
    ``address`` is its IP address if the URL gives it apart from the name.
    """

    host: str
    port: int | None = None
    address: str = ""

    def __str__(self) -> str:
        name = f"[{self.host}]" if ":" in self.host and not self.host.startswith("/") else self.host
        return name if self.port is None else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class UrlParts:
    """The parts of a URL, decoded."""

    scheme: str
    user: str | None
    password: str | None = field(repr=False)
    endpoints: tuple[Endpoint, ...]
    database: str
    options: Mapping[str, str] = field(repr=False)


def url_error(problem: str) -> SettingError:
    """Return the error for a URL; the caller must not repeat a part that may hold a secret."""
    return SettingError(f"the database URL is not valid: {problem}")


def split_url(text: str) -> UrlParts:
    """Return the parts of a URL with hosts.

    Raises:
        SettingError: it is not valid, or it can be read in two ways.
    """
    scheme, _, rest = text.partition("://")
    credentials, rest = _split_credentials(rest)
    end = _AUTHORITY_END.search(rest)
    authority, rest = (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
    path, _, query = rest.partition("?")
    if not path.startswith("/") and path:
        raise url_error(f"it has a # between the host and the database; {ENCODE}")
    options = _parse_query(query)
    user, password = _split_password(credentials)
    return UrlParts(
        scheme=scheme.lower(),
        user=options.pop("user", user),  # an option comes before the same part of the URL, as in libpq
        password=options.pop("password", password),
        endpoints=_endpoints(authority, options),
        database=options.pop("dbname", unquote(path[1:])),
        options=options,
    )


def secrets_of(parts: UrlParts) -> tuple[str, ...]:
    """Return every text of the URL that must not be shown."""
    secret_options = [value for name, value in parts.options.items() if is_secret_name(name)]
    return tuple(each for each in (parts.password, *secret_options) if each)


def is_secret_name(name: str) -> bool:
    """Return whether an option of this name holds a secret; the path of a file is none."""
    lower = name.lower()
    return any(word in lower for word in ("pass", "pwd", "secret", "token")) and not lower.endswith("file")


def _split_credentials(rest: str) -> tuple[str | None, str]:
    """Return what stands before the @ that ends the user and the password, and the rest.

    A / ? or # before it is taken for a part of the password if nothing else makes sense, as SQLAlchemy does.
    """
    if rest.count("@") > 1:
        raise url_error(f"it has more than one @; {ENCODE}")
    before, at_sign, after = rest.partition("@")
    if not at_sign:
        return None, rest
    end = _AUTHORITY_END.search(before)
    if end is None:
        return before, after
    authority, remainder = before[: end.start()], before[end.start() :]
    if ":" not in authority and "?" in remainder and "#" not in remainder:
        return None, rest  # the @ stands in the value of an option
    if ":" not in authority or _is_host_list(authority):
        raise url_error(f"it can be read in two ways, because of a / ? or # before the @; {ENCODE}")
    return before, after


def _split_password(credentials: str | None) -> tuple[str | None, str | None]:
    if credentials is None:
        return None, None
    user, colon, password = credentials.partition(":")
    return unquote(user) or None, unquote(password) if colon else None


def _parse_query(query: str) -> dict[str, str]:
    """Return the options. A ``host`` may be given several times, as in SQLAlchemy's form."""
    if any("=" not in pair for pair in query.split("&") if pair):
        raise url_error("after the ? there must be options like name=value, separated by &")
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in options and name not in ("host", "port"):
            raise url_error("an option is given twice")
        options[name] = f"{options[name]},{value}" if name in options else value
    return options


# --- hosts


def _endpoints(authority: str, options: dict[str, str]) -> tuple[Endpoint, ...]:
    """Return the hosts of the options ``host``, ``hostaddr`` and ``port``, else those before the path."""
    if authority and not _is_host_list(authority):
        raise url_error(
            f"its host or port cannot be understood; several hosts are separated by commas; {EXAMPLES}"
        )
    endpoints = _parse_hosts(authority.split(","), decode=True) if authority else []
    if host_text := options.pop("host", ""):
        endpoints = _parse_hosts(host_text.split(","), decode=False)
    if address_text := options.pop("hostaddr", ""):
        addresses = address_text.split(",")
        endpoints = endpoints or [Endpoint(address) for address in addresses]
        _require_same_number(len(endpoints), len(addresses), "hostaddr")
        endpoints = [each._replace(address=address) for each, address in zip(endpoints, addresses, strict=True)]
    if port_text := options.pop("port", ""):
        endpoints = with_ports(endpoints or [Endpoint("")], port_text)
    if len(endpoints) > _MAX_HOSTS:
        raise url_error(f"it has {len(endpoints)} hosts; at most {_MAX_HOSTS} are allowed")
    return tuple(endpoints)


def parse_host_list(hosts: str, ports: str = "") -> tuple[Endpoint, ...]:
    """Return the hosts of libpq's PGHOST and PGPORT.

    Raises:
        SettingError: one is not valid.
    """
    return tuple(with_ports(_parse_hosts(hosts.split(","), decode=False), ports))


def with_ports(endpoints: Iterable[Endpoint], ports: str) -> list[Endpoint]:
    """Return the endpoints with libpq's list of ports: one for all of them, or one for each."""
    endpoints, numbers = list(endpoints), [_parse_port(each) for each in ports.split(",")]
    if len(numbers) == 1:
        numbers *= len(endpoints)
    _require_same_number(len(endpoints), len(numbers), "port")
    return [
        each if port is None or each.port is not None else each._replace(port=port)
        for each, port in zip(endpoints, numbers, strict=True)
    ]


def _is_host_list(authority: str) -> bool:
    return all(_HOST.fullmatch(each) for each in authority.split(","))


def _parse_hosts(texts: Iterable[str], *, decode: bool) -> list[Endpoint]:
    return [_parse_host(each, decode=decode) for each in texts]


def _parse_host(text: str, *, decode: bool) -> Endpoint:
    if text.startswith("/"):  # a socket, whose path may hold a colon
        return Endpoint(text)
    match = _HOST.fullmatch(text)
    if match is None:
        raise url_error("a host is a name, an IPv4 address, an IPv6 address in brackets, or the path of a socket")
    host = unquote(match["host"]) if decode else match["host"]
    if not host.isprintable() or "@" in host or " " in host or ("/" in host and not host.startswith("/")):
        raise url_error(f"a host has a character that no host can have; {ENCODE}")
    return Endpoint(host.strip("[]"), _parse_port(match["port"] or ""))


def _parse_port(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= 65535:
        raise url_error("a port is a number from 1 to 65535")
    return int(text)


def _require_same_number(hosts: int, values: int, name: str) -> None:
    if hosts != values:
        raise url_error(f"it has {hosts} hosts, and {values} values of {name}: give one for each")
