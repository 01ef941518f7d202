"""Options > environment > config file > defaults, for each parameter by itself, and where each came from.

Nothing but the composition root reads this: the rooms are given values. Every error is one sentence that says
what is wrong and where it was written. A database's password is in `Settings.database` and nowhere else.

Source: design section 5.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from masterjob.config.documents import Document, raise_if_unknown, read_document
from masterjob.config.redact import redact_url
from masterjob.election.timing import Timing, format_duration, parse_duration
from masterjob.election.values import LostPolicy
from masterjob.errors import SettingError

EXECUTOR_SECTION = "masterJobExecutor"

ConfigSource = str | Path | Document | None
"""The config file: its path, or what was read of it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and, in words, where it came from."""

    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in effect. Durations are seconds; ``by_argument`` goes by argument name, its URL masked."""

    timing: Timing
    init_delay: float
    lost_policy: LostPolicy
    database: str = field(repr=False)
    by_argument: Mapping[str, Setting]

    def display_rows(self) -> list[tuple[str, str, str]]:
        """Return rows of name, value and source for people to read, without the database's password."""
        named_settings = [
            (parameter.config_keys[0], self.by_argument[parameter.argument]) for parameter in _PARAMETERS
        ]
        return [(name, _format_value(setting.value), setting.origin) for name, setting in named_settings]


def resolve_settings(
    options: Mapping[str, object],
    environ: Mapping[str, str],
    config: ConfigSource,
    *,
    require_database: bool = True,
) -> Settings:
    """Return the settings in effect. Where a database is not demanded it may be missing, and is an empty text.

    ``options`` goes by argument name, None meaning "not given"; so does an empty environment variable and a
    null in the file. An option that was written somewhere is a `Setting`, which says where. ``config`` is the
    config file or its path; without it ``MASTERJOB_CONFIG`` is the path.

    Raises:
        SettingError: a value, a name or the config file is wrong, or no database is named.
        TimingError: the timing breaks the one inequality (design 3.4).

    Source: design section 5.
    """
    for name in options:
        raise_if_unknown(name, [parameter.argument for parameter in _PARAMETERS], f"argument {name}")
    config_settings = _read_config_settings(environ, config)
    resolved = {
        parameter.argument: _resolve_parameter(parameter, options, environ, config_settings)
        for parameter in _PARAMETERS
    }
    given = {argument: setting for argument, setting in resolved.items() if setting is not None}
    if "database" not in given and not require_database:
        given["database"] = Setting("", "not set")
    return _build_settings(given)


def _build_settings(given: dict[str, Setting]) -> Settings:
    if "database" not in given:
        raise SettingError(
            "no database is named: pass the argument database (--database), set the environment's "
            f"MASTERJOB_DATABASE_URL, or write database under {EXECUTOR_SECTION} in the config file"
        )
    timing = _build_timing(given)
    values = _DEFAULTS | asdict(timing) | {argument: setting.value for argument, setting in given.items()}
    by_argument = {argument: Setting(value, "default") for argument, value in values.items()} | given
    by_argument["database"] = replace(given["database"], value=redact_url(values["database"]))
    return Settings(
        timing=timing,
        init_delay=values["init_delay"],
        lost_policy=values["lost_policy"],
        database=values["database"],
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


def _parse_count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(value if isinstance(value, str) else "")
    except ValueError:
        raise SettingError(f"{str(value)[:64]!r} is not a whole number") from None


def _parse_lost_policy(value: object) -> LostPolicy:
    try:
        return LostPolicy(str(value))
    except ValueError:
        known_policies = " or ".join(LostPolicy)
        raise SettingError(f"{str(value)[:64]!r} is not a lostPolicy: it must be {known_policies}") from None


def _parse_database_url(value: object) -> str:
    if not isinstance(value, str) or "://" not in value:  # the value is not repeated: it may hold a password
        raise SettingError("this is not a database URL in text, such as postgresql://user:password@host/name")
    return value


class _Parameter(NamedTuple):
    """One setting: its argument, its names in file and environment (the first wins), and who reads it."""

    argument: str
    config_keys: tuple[str, ...]
    environment_variables: tuple[str, ...]
    parse: Callable[[Any], object]


_PARAMETERS = (
    _Parameter("init_delay", ("initDelay",), ("INIT_DELAY", "MASTER_JOB_EXEC_INIT_DELAY"), parse_duration),
    _Parameter("check_master_interval", ("checkMasterInterval",), ("CHECK_MASTER_INTERVAL",), parse_duration),
    _Parameter("heartbeat_interval", ("heartbeatInterval",), ("MASTER_JOB_HEARTBEAT_INTERVAL",), parse_duration),
    _Parameter(
        "max_heartbeat_retry_count",
        ("maxHeartbeatRetryCount",),
        ("MASTER_JOB_MAX_HEARTBEAT_RETRY_COUNT",),
        _parse_count,
    ),
    _Parameter(
        "lease_duration",
        ("leaseDuration", "tolerance", "masterJobTolerance"),
        ("MASTER_JOB_LEASE_DURATION", "MASTER_JOB_TOLERANCE"),
        parse_duration,
    ),
    _Parameter("stop_timeout", ("stopTimeout",), ("MASTER_JOB_STOP_TIMEOUT",), parse_duration),
    _Parameter("lost_policy", ("lostPolicy",), ("MASTER_JOB_LOST_POLICY",), _parse_lost_policy),
    _Parameter("database", ("database",), ("MASTERJOB_DATABASE_URL",), _parse_database_url),
)
_TIMING_ARGUMENTS = tuple(Timing.__dataclass_fields__)  # their defaults are Timing's own
_DEFAULTS: dict[str, Any] = {"init_delay": 1.0, "lost_policy": LostPolicy.STOP}


def _resolve_parameter(
    parameter: _Parameter,
    options: Mapping[str, object],
    environ: Mapping[str, str],
    config_settings: Mapping[str, Setting],
) -> Setting | None:
    """Return the setting from the highest level that has it, read; None where no level does."""
    given = options.get(parameter.argument)
    option = given if isinstance(given, Setting) else Setting(given, f"argument {parameter.argument}")
    environment_settings = [
        Setting(environ.get(name, "").strip() or None, f"environment {name}")
        for name in parameter.environment_variables
    ]
    candidates = [setting for setting in (option, *environment_settings) if setting.value is not None]
    candidates += [config_settings[key] for key in parameter.config_keys if key in config_settings]
    if not candidates:
        return None
    try:
        return replace(candidates[0], value=parameter.parse(candidates[0].value))
    except (SettingError, OverflowError) as error:
        raise SettingError(f"{candidates[0].origin}: {error}") from None


# --- the config file


def _read_config_settings(environ: Mapping[str, str], config: ConfigSource) -> dict[str, Setting]:
    """Return what the config file's section sets, unread, by the name it has there."""
    document = load_config_document(environ, config)
    if document is None:
        return {}
    section = config_section(document, EXECUTOR_SECTION)
    config_settings: dict[str, Setting] = {}
    for name, value in section.items():
        setting = Setting(value, document.locate((EXECUTOR_SECTION, name)))
        raise_if_unknown(name, [key for parameter in _PARAMETERS for key in parameter.config_keys], setting.origin)
        if isinstance(value, list | dict):
            raise SettingError(f"{setting.origin} must be one value, not a list or a mapping")
        if value is not None:
            config_settings[name] = setting
    return config_settings


def load_config_document(environ: Mapping[str, str], config: ConfigSource) -> Document | None:
    """Return the config file that the argument or else the environment names; None where neither does.

    Raises:
        SettingError: it cannot be read.
    """
    if isinstance(config, Document):
        return config
    path = find_config_path(environ, config)
    return None if path is None else read_document(path, f"config file {path}")


def find_config_path(environ: Mapping[str, str], config: str | Path | None) -> str | Path | None:
    """Return where the config file is, if one is named."""
    return environ.get("MASTERJOB_CONFIG", "").strip() or None if config is None else config


def config_section(document: Document, name: str) -> dict[str, object]:
    """Return one of the sections of a config file; of nothing at all, nothing.

    Raises:
        SettingError: the file or its section does not hold names and values.
    """
    top = document.data()
    section = top.get(name) if isinstance(top, dict) else top
    for value, path in ((top, ()), (section, (name,))):
        if value is not None and not isinstance(value, dict):
            raise SettingError(f"{document.locate(path)} must hold names and values")
    return section if isinstance(section, dict) else {}


# --- what people see


def _format_value(value: object) -> str:
    return format_duration(value) if isinstance(value, float) else str(value)
