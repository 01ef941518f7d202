"""The options that several commands share, alone or in groups, and the database that they name."""

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from masterjob.election.errors import SettingError, StoreUnavailable
from masterjob.masking import masked
from masterjob.process.identity import whoever_runs_this
from masterjob.settings import SECTION, Setting, Settings, config_path, resolve
from masterjob.store.database import Database
from masterjob.store.switchboard import Switchboard
from masterjob.web.options import SECTION as API_SECTION


class Output(StrEnum):
    """For whom the answer is."""

    TABLE = "table"
    JSON = "json"


def option(*names: str, metavar: str | None, text: str) -> Any:
    """Return an option that may be left out; where that means something, the text says what."""
    return typer.Option(*names, metavar=metavar, help=text, show_default=False)


LockName = Annotated[str, typer.Argument(metavar="LOCK", help="The name of the lock.", show_default=False)]
Paths = Annotated[
    list[Path],
    typer.Argument(metavar="PATH", help="Manifests, or folders that hold some.", show_default=False),
]
ConfigFile = Annotated[Path | None, option("--config", metavar="FILE", text="The config file, YAML or JSON.")]
Format = Annotated[Output, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")]
Actor = Annotated[str | None, option("--actor", metavar="NAME", text="Who does this; default: user@host.")]


CONFIG_SECTIONS = (SECTION, "jobs", API_SECTION)
"""What a config file may have at its top, where it is for this program alone."""


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """What was typed about the database; the environment and the config file may name it too."""

    url: Annotated[
        str | None,
        option("--database", metavar="URL", text="The database, like postgresql://user:password@host/name."),
    ] = None
    config: ConfigFile = None

    def as_settings(self) -> dict[str, object]:
        """Return it as settings, with the words for where they came from."""
        return {} if self.url is None else {"database": Setting(self.url, "option --database")}

    def prepared(self) -> Database:
        """Return the database that is named, its tables up to date.

        Raises:
            SettingError: none is named, or none that can be used.
            StoreUnavailable: it does not answer; the message says which.
        """
        settings = resolve(self.as_settings(), os.environ, self.config)
        found = database_of(settings)
        try:
            found.prepare()
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{error} ({masked(settings.database)})") from None
        return found

    def switchboard(self) -> Switchboard:
        """Return the people's side of the database; see `prepared`."""
        return self.prepared().switchboard()


def database_of(settings: Settings) -> Database:
    """Return the database of the settings.

    Raises:
        SettingError: it cannot be used; the message says where it was written.
    """
    try:
        return Database(settings.database)
    except SettingError as error:
        raise SettingError(f"{settings.sources['database'].source}: {error}") from None


def no_manifest(config: Path | None) -> Path | None:
    """Return the config file, which may stand in a folder of manifests and is none of them."""
    path = config_path(os.environ, config)
    return None if path is None else Path(path)


def actor_or_user(actor: str | None) -> str:
    """Return who does this."""
    return actor or whoever_runs_this()


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with each group of options, a dataclass, spread out into the options that are its fields.

    Typer makes an option of every parameter, and knows no groups.
    """
    parameters = inspect.signature(command).parameters
    groups: dict[str, Any] = {
        name: each.annotation for name, each in parameters.items() if is_dataclass(each.annotation)
    }

    @functools.wraps(command)
    def gathered(**typed: Any) -> None:
        for name, group in groups.items():
            typed[name] = group(**{field.name: typed.pop(field.name) for field in fields(group)})
        command(**typed)

    options: list[inspect.Parameter] = []
    for name, each in parameters.items():
        options += inspect.signature(groups[name]).parameters.values() if name in groups else [each]
    in_any_order = [each.replace(kind=each.KEYWORD_ONLY) for each in options]
    vars(gathered)["__signature__"] = inspect.Signature(in_any_order)
    return gathered
