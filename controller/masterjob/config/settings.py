"""Settings: option > environment > config file > default, for each parameter by itself, with its origin.

Only the composition root reads settings; the other packages get values. Every error is one sentence that says what
is wrong and where it was written. The password of the database is in `Settings.database` and nowhere else.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from masterjob.config.documents import Document, raise_if_unknown, read_document
from masterjob.config.fields import Field, duration, one_of, stripped, whole_number
from masterjob.config.location import DatabaseLocation, parse_database_url, parse_path, resolve_location
from masterjob.election.timing import Timing, format_duration
from masterjob.election.values import LostPolicy
from masterjob.errors import SettingError

EXECUTOR_SECTION = "masterJobExecutor"

ConfigSource = str | Path | Document | None
"""The config file: its path, or its document."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and, in words, its origin."""

    value: object
    origin: str


class Parameter(NamedTuple):
    """A setting: its argument, its names in file and environment (the first wins), and its parser."""

    argument: str
    config_keys: tuple[str, ...]
    environment_variables: tuple[str, ...]
    parse: Callable[[Field], Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in effect. Durations are seconds; ``by_argument`` has the database's URL without password.

    ``database`` is false if none is set and none is required.
    """

    timing: Timing
    init_delay: float
    lost_policy: LostPolicy
    database: DatabaseLocation
    by_argument: Mapping[str, Setting]

    def display_rows(self) -> list[tuple[str, str, str]]:
        """Return rows of name, value and origin for people to read, without the database's password."""
        rows = (
            (each.config_keys[0], self.by_argument[each.argument])
            for each in _PARAMETERS
            if each.argument in self.by_argument
        )
        return [(name, _format_value(setting.value), setting.origin) for name, setting in rows]


def resolve_settings(
    options: Mapping[str, object],
    environ: Mapping[str, str],
    config: ConfigSource,
    *,
    require_database: bool = True,
) -> Settings:
    """Return the settings in effect.

    ``options`` goes by argument name; None means "not given", like an empty environment variable and a null in the
    file. An option with an origin of its own is a `Setting`. ``config`` is the config file or its path; without
    it ``MASTERJOB_CONFIG`` is the path. Without ``require_database`` a missing database is an empty text.

    Raises:
        SettingError: a value, a name or the config file is not valid, or the database is missing.
        TimingError: the timing is unsafe.
    """
    section = Field(None)
    if (document := load_config_document(environ, config)) is not None:
        section = Field(document.data, (), document.locate)[EXECUTOR_SECTION]
    given = resolve_parameters(_PARAMETERS, options, environ, section)
    for name in _DATABASE_ARGUMENTS:
        given.pop(name, None)  # they exclude each other, so they are resolved together
    arguments = {name: _option_field(name, options) for name in _DATABASE_ARGUMENTS}
    located = resolve_location(arguments, environ, section)
    if located is None and require_database:
        raise SettingError(
            "no database is configured: pass the argument database (--database), set the environment variable "
            f"MASTERJOB_DATABASE_URL, or write database under {EXECUTOR_SECTION} in the config file; "
            "or name the file that holds its URL (--database-file, MASTERJOB_DATABASE_URL_FILE, databaseFile)"
        )
    location, origin = located or (DatabaseLocation(), "not set")
    return _build_settings(given, location, origin)


def _build_settings(given: dict[str, Setting], database: DatabaseLocation, origin: str) -> Settings:
    timing = _build_timing(given)
    values = _DEFAULTS | asdict(timing) | {argument: setting.value for argument, setting in given.items()}
    by_argument = {argument: Setting(value, "default") for argument, value in values.items()} | given
    by_argument["database"] = Setting(str(database), origin)
    return Settings(
        timing=timing,
        init_delay=values["init_delay"],
        lost_policy=values["lost_policy"],
        database=database,
        by_argument=MappingProxyType(by_argument),
    )


def _build_timing(given: Mapping[str, Setting]) -> Timing:
    timing_arguments: dict[str, Any] = {name: given[name].value for name in _TIMING_ARGUMENTS if name in given}
    try:
        return Timing.of(**timing_arguments)
    except SettingError as error:
        involved = [parameter for parameter in _PARAMETERS if parameter.config_keys[0] in str(error)]
        origins = [given[each.argument].origin if each.argument in given else "default" for each in involved]
        origin_text = ", ".join(
            f"{each.config_keys[0]}: {origin}" for each, origin in zip(involved, origins, strict=True)
        )
        raise type(error)(f"{error} ({origin_text})") from None


# --- the parameters


_LEASE_KEYS = ("leaseDuration", "tolerance", "masterJobTolerance")
_LEASE_VARIABLES = ("MASTER_JOB_LEASE_DURATION", "MASTER_JOB_TOLERANCE")
_RETRY_VARIABLES = ("MASTER_JOB_MAX_HEARTBEAT_RETRY_COUNT",)
_DURATION = duration(milliseconds=True)
_COUNT = stripped(whole_number())

_PARAMETERS = (
    Parameter("init_delay", ("initDelay",), ("INIT_DELAY", "MASTER_JOB_EXEC_INIT_DELAY"), _DURATION),
    Parameter("check_master_interval", ("checkMasterInterval",), ("CHECK_MASTER_INTERVAL",), _DURATION),
    Parameter("heartbeat_interval", ("heartbeatInterval",), ("MASTER_JOB_HEARTBEAT_INTERVAL",), _DURATION),
    Parameter("max_heartbeat_retry_count", ("maxHeartbeatRetryCount",), _RETRY_VARIABLES, _COUNT),
    Parameter("lease_duration", _LEASE_KEYS, _LEASE_VARIABLES, _DURATION),
    Parameter("stop_timeout", ("stopTimeout",), ("MASTER_JOB_STOP_TIMEOUT",), _DURATION),
    Parameter("lost_policy", ("lostPolicy",), ("MASTER_JOB_LOST_POLICY",), one_of(LostPolicy)),
    Parameter("database", ("database",), ("MASTERJOB_DATABASE_URL",), parse_database_url),
    Parameter("database_file", ("databaseFile",), ("MASTERJOB_DATABASE_URL_FILE",), parse_path),
)
_DATABASE_ARGUMENTS = ("database", "database_file")
_TIMING_ARGUMENTS = tuple(Timing.__dataclass_fields__)  # Timing has their defaults
_DEFAULTS: dict[str, Any] = {"init_delay": 1.0, "lost_policy": LostPolicy.STOP}


def resolve_parameters(
    parameters: Iterable[Parameter], options: Mapping[str, object], environ: Mapping[str, str], section: Field
) -> dict[str, Setting]:
    """Return the parameters that are set, by argument; ``section`` is their section of the config file.

    Raises:
        SettingError: a value is not valid, or a name is not known.
    """
    parameters = list(parameters)
    for name in options:
        raise_if_unknown(name, [each.argument for each in parameters], f"argument {name}")
    section.check_names(key for each in parameters for key in each.config_keys)
    resolved = {}
    for each in parameters:
        levels = [_option_field(each.argument, options)]
        levels += [
            _field(environ.get(name, "").strip() or None, f"environment {name}")
            for name in each.environment_variables
        ]
        levels += [section[key] for key in each.config_keys]
        highest = next((level for level in levels if level.value is not None), None)
        if highest is not None:
            resolved[each.argument] = Setting(each.parse(highest), highest.location)
    return resolved


def _option_field(argument: str, options: Mapping[str, object]) -> Field:
    given = options.get(argument)
    option = given if isinstance(given, Setting) else Setting(given, f"argument {argument}")
    return _field(option.value, option.origin)


def _field(value: object, origin: str) -> Field:
    return Field(value, (), locate=lambda _: origin)


# --- the config file


def load_config_document(environ: Mapping[str, str], config: ConfigSource) -> Document | None:
    """Return the config file named by the argument or the environment, or None.

    Raises:
        SettingError: it cannot be read.
    """
    if isinstance(config, Document):
        return config
    path = find_config_path(environ, config)
    return None if path is None else read_document(path, f"config file {path}")


def find_config_path(environ: Mapping[str, str], config: str | Path | None) -> str | Path | None:
    """Return the path of the config file, if there is one."""
    return environ.get("MASTERJOB_CONFIG", "").strip() or None if config is None else config


def config_section(document: Document, name: str) -> dict[str, object]:
    """Return a section of the config file; an empty one if it is missing.

    Raises:
        SettingError: the file or its section does not hold names and values.
    """
    section = Field(document.data, (), document.locate)[name]
    return {key: field.value for key, field in section.entries().items()}


def _format_value(value: object) -> str:
    return format_duration(value) if isinstance(value, float) else str(value)
