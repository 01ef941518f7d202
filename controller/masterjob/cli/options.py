"""The options that several commands share, and the database that they name."""

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from masterjob.config.settings import EXECUTOR_SECTION, Setting, Settings, find_config_path, resolve_settings
from masterjob.errors import SettingError, StoreUnavailable
from masterjob.store.admin import LockAdmin
from masterjob.store.connection.outages import OutageLog
from masterjob.store.database import Database
from masterjob.web.config import CONTROL_API_SECTION as API_SECTION


class OutputFormat(StrEnum):
    """The format of the output."""

    TABLE = "table"
    JSON = "json"


def option(*names: str, metavar: str | None, text: str) -> Any:
    """Return an optional option; ``text`` says what its absence means."""
    return typer.Option(*names, metavar=metavar, help=text, show_default=False)


LockNameArgument = Annotated[str, typer.Argument(metavar="LOCK", help="The name of the lock.", show_default=False)]
PathsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="PATH", help="Manifests, or folders of manifests.", show_default=False),
]
ConfigFileOption = Annotated[
    Path | None, option("--config", metavar="FILE", text="The config file, in YAML or JSON.")
]
OutputOption = Annotated[
    OutputFormat, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")
]
ActorOption = Annotated[
    str | None, option("--actor", metavar="NAME", text="Who does this, for the history. Default: user@host.")
]
CONFIG_SECTIONS = (EXECUTOR_SECTION, "jobs", API_SECTION)
"""The sections that a config file may have if it is for this program alone."""


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """The options that name the database; the environment and the config file may name it too."""

    url: Annotated[
        str | None,
        option(
            "--database",
            metavar="URL",
            text="The database URL: postgresql://user@host/name. A password in it is visible to other users: use "
            "--database-file.",
        ),
    ] = None
    file: Annotated[
        Path | None,
        option("--database-file", metavar="FILE", text="The file that holds the database URL, such as a Secret."),
    ] = None
    config: ConfigFileOption = None

    def as_settings(self) -> dict[str, object]:
        """Return the given options as settings, with their origin."""
        given = {
            "database": Setting(self.url, "option --database"),
            "database_file": Setting(self.file, "option --database-file"),
        }
        return {name: setting for name, setting in given.items() if setting.value is not None}

    def prepare_database(self) -> Database:
        """Return the database, its tables up to date.

        Raises:
            SettingError: no database is configured, or its URL is not valid.
            StoreUnavailable: the database does not answer, or refuses this process; the message names it.
        """
        settings = resolve_settings(self.as_settings(), os.environ, self.config)
        database = create_database(settings)
        try:
            database.prepare()
        except StoreUnavailable as error:
            error.args = (f"{error} ({database.redacted_url})",)
            raise
        return database

    def lock_admin(self) -> LockAdmin:
        """Return the admin interface of the database; see `prepare_database`."""
        return self.prepare_database().lock_admin()


def create_database(settings: Settings, outages: OutageLog | None = None) -> Database:
    """Return the database of the settings.

    Raises:
        SettingError: the URL is not valid; the message says where it was set.
    """
    try:
        return Database(settings.database, outages)
    except SettingError as error:
        raise SettingError(f"{settings.by_argument['database'].origin}: {error}") from None


def config_file_to_exclude(config: Path | None) -> Path | None:
    """Return the path of the config file, which is not a manifest even if it lies among them."""
    path = find_config_path(os.environ, config)
    return None if path is None else Path(path)


def expand_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with each dataclass among its parameters replaced by one parameter for each field.

    Typer makes an option of every parameter, and has no groups of options.
    """
    parameters = inspect.signature(command).parameters
    groups: dict[str, Any] = {
        name: each.annotation for name, each in parameters.items() if is_dataclass(each.annotation)
    }

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> None:
        for name, group in groups.items():
            arguments[name] = group(**{field.name: arguments.pop(field.name) for field in fields(group)})
        command(**arguments)

    options: list[inspect.Parameter] = []
    for name, each in parameters.items():
        options += inspect.signature(groups[name]).parameters.values() if name in groups else [each]
    keyword_only = [each.replace(kind=each.KEYWORD_ONLY) for each in options]
    vars(wrapper)["__signature__"] = inspect.Signature(keyword_only)
    return wrapper
