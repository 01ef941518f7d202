"""Where the control API listens and who may call it: each value from option, environment, config file, default."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from masterjob.config.documents import FieldLocator
from masterjob.config.fields import (
    MAX_TEXT_LENGTH,
    NOT_BLANK,
    Field,
    format_value,
    one_of,
    stripped,
    text,
    whole_number,
)
from masterjob.config.settings import Parameter, Setting, resolve_parameters
from masterjob.errors import SettingError

CONTROL_API_SECTION = "controlApi"
"""Its section of the config file."""

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 3000
MAX_ALLOWED_HOSTS = 10_000


class AuthMode(StrEnum):
    """Who may call.

    ``loopback``: everyone on this machine, without a token; no one else. ``token``: the tokens of a file.
    ``kubernetes``: the users of the cluster, by its own rules. ``none``: everyone.
    """

    LOOPBACK = "loopback"
    TOKEN = "token"  # noqa: S105 - the name of a mode, not a secret
    KUBERNETES = "kubernetes"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ListenConfig:
    """Where the control API and the probes listen, and who may call. Port 0 is any free port; None is off.

    Raises:
        SettingError: the values contradict each other, or would allow every client without ``auth none``.
    """

    host: str = DEFAULT_HOST
    port: int | None = DEFAULT_PORT
    auth: AuthMode = AuthMode.LOOPBACK
    tokens: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    probe_host: str = ""
    """The address for the probes; empty for all addresses, because a kubelet connects from another machine."""
    probe_port: int | None = None
    allowed_hosts: tuple[str, ...] = field(default=())
    """Host names that browsers may use, besides the addresses of this host, if no token is required."""

    def __post_init__(self) -> None:
        if self.port is not None and self.auth is AuthMode.LOOPBACK and not is_loopback(self.host):
            raise SettingError(
                f"host {self.host} can be reached by others: it needs auth token, auth kubernetes or an explicit "
                "auth none (--auth)"
            )
        if (self.auth is AuthMode.TOKEN) != (self.tokens is not None):
            raise SettingError("auth token and a token file belong together (--auth token --tokens FILE)")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingError("TLS needs both a certificate and its key (--tls-cert, --tls-key)")


@lru_cache(maxsize=256)  # each request checks the same few addresses
def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach this address. Of all names only ``localhost`` counts."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def resolve_listen_config(
    options: Mapping[str, object],
    environ: Mapping[str, str],
    section: Mapping[str, object] | None = None,
    locate: FieldLocator = lambda path: f"{CONTROL_API_SECTION}.{path[-1]}",
    describe_argument: Callable[[str], str] = lambda name: f"argument {name}",
) -> ListenConfig:
    """Return where to listen; for each value by itself option > environment > config file > default.

    ``options`` goes by argument name; None means "not given". ``describe_argument`` returns an argument's name for
    errors. ``section`` is `CONTROL_API_SECTION` of the config file, and ``locate`` returns the place of a field.

    Raises:
        SettingError: a value is not valid, or a name is not known.
    """
    arguments = {name: Setting(value, describe_argument(name)) for name, value in options.items()}
    settings = resolve_parameters(_PARAMETERS, arguments, environ, Field(section, (), locate))
    values: dict[str, Any] = {argument: setting.value for argument, setting in settings.items()}
    return ListenConfig(**values)


_parse_text = text(MAX_TEXT_LENGTH, NOT_BLANK)


def _parse_name(field: Field) -> str:
    return _parse_text(field).strip()


def _parse_path(field: Field) -> Path:
    return field.value if isinstance(field.value, Path) else Path(_parse_name(field))


def _parse_port(field: Field) -> int | None:
    if field.value is False or (isinstance(field.value, str) and field.value.lower() in ("off", "none", "false")):
        return None
    try:
        return stripped(whole_number(0, 65535))(field)
    except SettingError:
        raise field.error(f"must be a port from 0 to 65535 or off, not {format_value(field.value)}") from None


def _parse_names(field: Field) -> tuple[str, ...]:
    names = field.value.split(",") if isinstance(field.value, str) else field.value
    items = replace(field, value=names).items(MAX_ALLOWED_HOSTS, "[jobs.example.org, jobs.internal]")
    return tuple(_parse_name(item).lower() for item in items)


def _parameter(argument: str, config_key: str, parse: Callable[[Field], Any]) -> Parameter:
    # not MASTERJOB_PORT: a cluster sets that for any service named masterjob
    return Parameter(argument, (config_key,), (f"MASTERJOB_LISTEN_{argument.upper()}",), parse)


_PARAMETERS = (
    _parameter("host", "host", _parse_name),
    _parameter("port", "port", _parse_port),
    _parameter("auth", "auth", one_of(AuthMode, ignore_case=True)),
    _parameter("tokens", "tokens", _parse_path),
    _parameter("tls_cert", "tlsCert", _parse_path),
    _parameter("tls_key", "tlsKey", _parse_path),
    _parameter("probe_host", "probeHost", _parse_name),
    _parameter("probe_port", "probePort", _parse_port),
    _parameter("allowed_hosts", "allowedHosts", _parse_names),
)
