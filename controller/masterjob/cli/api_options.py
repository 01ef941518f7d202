"""The options of the control API, and where it listens by them."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from masterjob.cli.options import option
from masterjob.config.documents import Document
from masterjob.config.settings import config_section
from masterjob.web.config import CONTROL_API_SECTION, AuthMode, ListenConfig, resolve_listen_config


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """The options as they were typed; None where one was not."""

    host: Annotated[
        str | None, option(metavar="ADDRESS", text="Where the control API listens; default: 127.0.0.1.")
    ] = None
    port: Annotated[int | None, option(metavar="PORT", text="Its port; default: 3000; 0: any that is free.")] = (
        None
    )
    no_api: Annotated[bool, typer.Option("--no-api", help="No control API.")] = False
    auth: Annotated[
        AuthMode | None,
        option(metavar=None, text="Who is let in; default: whoever is on this machine (loopback)."),
    ] = None
    tokens: Annotated[Path | None, option(metavar="FILE", text="The tokens for --auth token, YAML.")] = None
    tls_cert: Annotated[Path | None, option(metavar="FILE", text="A certificate, PEM.")] = None
    tls_key: Annotated[Path | None, option(metavar="FILE", text="Its key, PEM.")] = None
    allowed_hosts: Annotated[
        list[str] | None,
        option("--allowed-host", metavar="NAME", text="A name under which browsers may call; may be repeated."),
    ] = None
    probe_port: Annotated[
        int | None,
        option(metavar="PORT", text="Health and metrics alone, without a token; default: off."),
    ] = None
    probe_host: Annotated[
        str | None, option(metavar="ADDRESS", text="Where those listen; default: everywhere.")
    ] = None

    def listen_config(self, document: Document | None) -> ListenConfig:
        """Return where to listen, from these options, the environment and the config file.

        Raises:
            SettingError: something of it is wrong; the message says where it was written.
        """
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        given["allowed_hosts"] = self.allowed_hosts or None
        if given.pop("no_api"):
            given["port"] = "off"
        section = {} if document is None else config_section(document, CONTROL_API_SECTION)
        locate = (
            (lambda _: CONTROL_API_SECTION) if document is None else document.field_locator(CONTROL_API_SECTION)
        )
        return resolve_listen_config(given, os.environ, section, locate, _option_name)


def _option_name(name: str) -> str:
    return f"option --{name.replace('_', '-').replace('hosts', 'host')}"
