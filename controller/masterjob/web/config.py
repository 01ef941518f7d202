"""Where to listen and who is let in: values, each from the option, the environment, the config file or a default.

Every error is one sentence that says what is wrong and where it was written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from masterjob.config.documents import FieldLocator, raise_if_unknown
from masterjob.errors import SettingError

CONTROL_API_SECTION = "controlApi"
"""Its section of the config file."""

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 3000


class AuthMode(StrEnum):
    """Who is let in.

    ``loopback``: whoever is on this machine, without a token; nobody else. ``token``: a file of tokens.
    ``kubernetes``: the cluster's users, by its own rules. ``none``: everybody.
    """

    LOOPBACK = "loopback"
    TOKEN = "token"  # noqa: S105 - the name of a way, not a secret
    KUBERNETES = "kubernetes"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ListenConfig:
    """Where the control API and the probes listen, and who is let in. Port 0 is any free one, None is off.

    Raises:
        SettingError: what is said cannot be, or would let in everybody without saying so.

    Source: design section 6.5.
    """

    host: str = DEFAULT_HOST
    port: int | None = DEFAULT_PORT
    auth: AuthMode = AuthMode.LOOPBACK
    tokens: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    probe_host: str = ""
    """Where the probes listen; every address where this is empty, as a kubelet comes from another one."""
    probe_port: int | None = None
    allowed_hosts: tuple[str, ...] = field(default=())
    """Names, beside its addresses, under which browsers may call this host where no token is demanded."""

    def __post_init__(self) -> None:
        if self.port is not None and self.auth is AuthMode.LOOPBACK and not is_loopback(self.host):
            raise SettingError(
                f"host {self.host} can be reached by others: it needs auth token, auth kubernetes or an explicit "
                "auth none (--auth)"
            )
        if (self.auth is AuthMode.TOKEN) != (self.tokens is not None):
            raise SettingError("auth token and a file of tokens belong together (--auth token --tokens FILE)")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingError("TLS needs both a certificate and its key (--tls-cert, --tls-key)")


@lru_cache(maxsize=256)  # each request asks it of the same few
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach this address; a name but ``localhost`` may be anything."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class _Option(NamedTuple):
    """One value: its names as argument and in the file, and who reads it. Its variable is made of the first."""

    argument: str
    config_key: str
    parse: Callable[[Any], Any]

    @property
    def environment_variable(
        self,
    ) -> str:  # no MASTERJOB_PORT: a cluster sets that for any service named masterjob
        return f"MASTERJOB_LISTEN_{self.argument.upper()}"


def resolve_listen_config(
    options: Mapping[str, object],
    environ: Mapping[str, str],
    section: Mapping[str, object] | None = None,
    locate: FieldLocator = lambda path: f"{CONTROL_API_SECTION}.{path[-1]}",
    describe_argument: Callable[[str], str] = lambda name: f"argument {name}",
) -> ListenConfig:
    """Return where to listen; for each value by itself option > environment > config file > default.

    ``options`` goes by argument name, None meaning "not given", and ``describe_argument`` says what errors
    call one.
    ``section`` is what the config file says under `CONTROL_API_SECTION`, and ``locate`` names the line of one
    of its fields.

    Raises:
        SettingError: a value or a name is wrong.
    """
    section_values = {} if section is None else section
    for key in section_values:
        raise_if_unknown(key, [each.config_key for each in _OPTIONS], locate((key,)))
    values = {}
    for each in _OPTIONS:
        levels = (
            (describe_argument(each.argument), options.get(each.argument)),
            (
                f"environment {each.environment_variable}",
                environ.get(each.environment_variable, "").strip() or None,
            ),
            (
                locate((each.config_key,)) if each.config_key in section_values else "",
                section_values.get(each.config_key),
            ),
        )
        level_value = next(((source, value) for source, value in levels if value is not None), None)
        if level_value is not None:
            values[each.argument] = _parse_option(each, *level_value)
    return ListenConfig(**values)


def _parse_option(option: _Option, origin: str, value: object) -> Any:
    try:
        return option.parse(value)
    except SettingError as error:
        raise SettingError(f"{origin}: {error}") from None


def _parse_text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SettingError("this must be a text that is not empty")
    return value.strip()


def _parse_path(value: object) -> Path:
    return value if isinstance(value, Path) else Path(_parse_text(value))


def _parse_port(value: object) -> int | None:
    if value is False or (isinstance(value, str) and value.lower() in ("off", "none", "false")):
        return None
    try:
        number = int(str(value)) if not isinstance(value, bool) else -1
    except ValueError:
        number = -1
    if not 0 <= number <= 65535:
        raise SettingError(f"{str(value)[:64]!r} is no port: 0 to 65535, or off")
    return number


def _parse_auth_mode(value: object) -> AuthMode:
    try:
        return AuthMode(str(value).lower())
    except ValueError:
        raise SettingError(f"{str(value)[:64]!r} must be {', '.join(AuthMode)}") from None


def _parse_names(value: object) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        raise SettingError("this must be a list of names")
    return tuple(_parse_text(name).lower() for name in names)


_OPTIONS = (
    _Option("host", "host", _parse_text),
    _Option("port", "port", _parse_port),
    _Option("auth", "auth", _parse_auth_mode),
    _Option("tokens", "tokens", _parse_path),
    _Option("tls_cert", "tlsCert", _parse_path),
    _Option("tls_key", "tlsKey", _parse_path),
    _Option("probe_host", "probeHost", _parse_text),
    _Option("probe_port", "probePort", _parse_port),
    _Option("allowed_hosts", "allowedHosts", _parse_names),
)
