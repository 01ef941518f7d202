"""The options of the control API."""

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
    """The options as given on the command line; None for those that were not."""

    host: Annotated[
        str | None, option(metavar="ADDRESS", text="The address of the control API. Default: 127.0.0.1.")
    ] = None
    port: Annotated[int | None, option(metavar="PORT", text="Its port; 0: any free one. Default: 3000.")] = None
    no_api: Annotated[bool, typer.Option("--no-api", help="Do not serve the control API.")] = False
    auth: Annotated[
        AuthMode | None,
        option(metavar=None, text="Who may call it. Default: this machine only (loopback)."),
    ] = None
    tokens: Annotated[Path | None, option(metavar="FILE", text="The YAML file of tokens, for --auth token.")] = (
        None
    )
    tls_cert: Annotated[Path | None, option(metavar="FILE", text="A certificate in PEM format.")] = None
    tls_key: Annotated[Path | None, option(metavar="FILE", text="Its private key in PEM format.")] = None
    allowed_hosts: Annotated[
        list[str] | None,
        option("--allowed-host", metavar="NAME", text="A host name that browsers may use; repeatable."),
    ] = None
    probe_port: Annotated[
        int | None,
        option(metavar="PORT", text="Another port, for health and metrics, without tokens. Default: off."),
    ] = None
    probe_host: Annotated[
        str | None, option(metavar="ADDRESS", text="The address of the probe port. Default: all addresses.")
    ] = None

    def listen_config(self, document: Document | None) -> ListenConfig:
        """Return the settings of the control API, from these options, the environment and the config file.

        Raises:
            SettingError: a setting is not valid; the message says where it was set.
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
