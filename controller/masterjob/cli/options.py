"""The options that several commands share, and the database that they name."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from masterjob.main import whoever_runs_this
from masterjob.settings import Setting, config_path, resolve
from masterjob.store.database import Database
from masterjob.store.switchboard import Switchboard


class Output(StrEnum):
    """For whom the answer is."""

    TABLE = "table"
    JSON = "json"


LockName = Annotated[str, typer.Argument(metavar="LOCK", help="The name of the lock.", show_default=False)]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="The database, like postgresql://user:password@host/name.",
        show_default=False,
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The config file, YAML or JSON.", show_default=False),
]
Format = Annotated[Output, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")]
Actor = Annotated[
    str | None,
    typer.Option("--actor", metavar="NAME", help="Who does this; default: user@host.", show_default=False),
]


def options_of(database: str | None) -> dict[str, object]:
    """Return the options as settings, with the words for where they came from."""
    return {} if database is None else {"database": Setting(database, "option --database")}


def database_of(database: str | None, config: Path | None) -> Database:
    """Return the database that the options, the environment or the config file name."""
    return Database(resolve(options_of(database), os.environ, config).database)


def switchboard_of(database: str | None, config: Path | None) -> Switchboard:
    """Return the people's side of the database, its tables up to date."""
    found = database_of(database, config)
    found.prepare()
    return found.switchboard()


def no_manifest(config: Path | None) -> Path | None:
    """Return the config file, which may stand in a folder of manifests and is none of them."""
    path = config_path(os.environ, config)
    return None if path is None else Path(path)


def actor_or_user(actor: str | None) -> str:
    """Return who does this."""
    return actor or whoever_runs_this()
