"""The options of the control API, shared by ``run`` and ``operator``, and what they are made into."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masterjob.documents import Document
from masterjob.main import this_process
from masterjob.settings import config_section
from masterjob.store.switchboard import Switchboard
from masterjob.web.options import SECTION, Auth, Listening, listening
from masterjob.web.ports import Authenticator, Check

if TYPE_CHECKING:
    from masterjob.serving import Api

_PANEL = "Control API"


def _option(*names: str, metavar: str, text: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, show_default=False, rich_help_panel=_PANEL)


Host = Annotated[
    str | None, _option("--host", metavar="ADDRESS", text="Where the control API listens; default: 127.0.0.1.")
]
Port = Annotated[
    int | None, _option("--port", metavar="PORT", text="Its port; default: 3000; 0: any that is free.")
]
NoApi = Annotated[bool, typer.Option("--no-api", help="No control API.", rich_help_panel=_PANEL)]
Who = Annotated[
    Auth | None,
    typer.Option(
        "--auth",
        help="Who is let in; default: whoever is on this machine (loopback).",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Tokens = Annotated[Path | None, _option("--tokens", metavar="FILE", text="The tokens for --auth token, YAML.")]
TlsCert = Annotated[Path | None, _option("--tls-cert", metavar="FILE", text="A certificate, PEM.")]
TlsKey = Annotated[Path | None, _option("--tls-key", metavar="FILE", text="Its key, PEM.")]
ProbePort = Annotated[
    int | None,
    _option("--probe-port", metavar="PORT", text="Health and metrics alone, without a token; default: off."),
]
ProbeHost = Annotated[
    str | None, _option("--probe-host", metavar="ADDRESS", text="Where those listen; default: everywhere.")
]
AllowedHost = Annotated[
    list[str] | None,
    _option("--allowed-host", metavar="NAME", text="A name under which browsers may call; may be repeated."),
]


@dataclass(frozen=True, slots=True)
class Options:
    """The options as they were typed; None where one was not."""

    host: str | None = None
    port: int | None = None
    no_api: bool = False
    auth: Auth | None = None
    tokens: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allowed_host: list[str] | None = None
    probe_port: int | None = None
    probe_host: str | None = None

    def listening(self, document: Document | None) -> Listening:
        """Return where to listen, from these options, the environment and the config file.

        Raises:
            SettingError: something of it is wrong; the message says where it was written.
        """
        given = {name: getattr(self, name) for name in self.__slots__ if name not in ("no_api", "allowed_host")}
        given |= {"allowed_hosts": self.allowed_host or None} | ({"port": "off"} if self.no_api else {})
        section = {} if document is None else config_section(document, SECTION)
        where = (lambda _: SECTION) if document is None else document.below(SECTION)
        return listening(given, os.environ, section, where, lambda name: f"option --{name.replace('_', '-')}")


def begin(
    options: Options,
    document: Document | None,
    find: Callable[[], Switchboard],
    checks: Sequence[Check],
    authenticator: Authenticator | None = None,
) -> "Api":
    """Have the control API of this process listen, and see what its instances do; see `masterjob.serving.Api`.

    Raises:
        SettingError: an option, a certificate or the file of tokens is wrong.
    """
    from masterjob.serving import Api  # noqa: PLC0415 - other commands need not wait for aiohttp

    api = Api(this_process(), find, checks, authenticator)
    api.start(options.listening(document))
    return api
