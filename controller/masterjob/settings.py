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

from masterjob.documents import Document, read_one, refuse_unknown
from masterjob.election.errors import SettingError
from masterjob.election.timing import Timing, duration, in_words
from masterjob.election.values import LostPolicy
from masterjob.masking import masked

SECTION = "masterJobExecutor"

Config = str | Path | Document | None
"""The config file: its path, or what was read of it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and, in words, where it came from."""

    value: object
    source: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in effect. Durations are seconds; ``sources`` goes by argument name, its URL masked."""

    timing: Timing
    init_delay: float
    lost_policy: LostPolicy
    database: str = field(repr=False)
    sources: Mapping[str, Setting]

    def shown(self) -> list[tuple[str, str, str]]:
        """Return rows of name, value and source for people to read, without the database's password."""
        named = [(parameter.keys[0], self.sources[parameter.argument]) for parameter in _PARAMETERS]
        return [(name, _shown_value(setting.value), setting.source) for name, setting in named]


def resolve(
    options: Mapping[str, object],
    environ: Mapping[str, str],
    config: Config,
    *,
    demand_database: bool = True,
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
        refuse_unknown(name, [parameter.argument for parameter in _PARAMETERS], f"argument {name}")
    file = _config_file(environ, config)
    found = {parameter.argument: _find(parameter, options, environ, file) for parameter in _PARAMETERS}
    given = {argument: setting for argument, setting in found.items() if setting is not None}
    if "database" not in given and not demand_database:
        given["database"] = Setting("", "not set")
    return _settings(given)


def _settings(given: dict[str, Setting]) -> Settings:
    if "database" not in given:
        raise SettingError(
            "no database is named: pass the argument database (--database), set the environment's "
            f"MASTERJOB_DATABASE_URL, or write database under {SECTION} in the config file"
        )
    timing = _timing(given)
    values = _DEFAULTS | asdict(timing) | {argument: setting.value for argument, setting in given.items()}
    sources = {argument: Setting(value, "default") for argument, value in values.items()} | given
    sources["database"] = replace(given["database"], value=masked(values["database"]))
    return Settings(
        timing=timing,
        init_delay=values["init_delay"],
        lost_policy=values["lost_policy"],
        database=values["database"],
        sources=MappingProxyType(sources),
    )


def _timing(given: Mapping[str, Setting]) -> Timing:
    chosen: dict[str, Any] = {name: given[name].value for name in _TIMING if name in given}
    try:
        return Timing.of(**chosen)
    except SettingError as error:
        blamed = [parameter for parameter in _PARAMETERS if parameter.keys[0] in str(error)]
        where = [given[each.argument].source if each.argument in given else "default" for each in blamed]
        sources = ", ".join(f"{each.keys[0]}: {source}" for each, source in zip(blamed, where, strict=True))
        raise type(error)(f"{error} ({sources})") from None


# --- the parameters


def _count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(value if isinstance(value, str) else "")
    except ValueError:
        raise SettingError(f"{str(value)[:64]!r} is not a whole number") from None


def _policy(value: object) -> LostPolicy:
    try:
        return LostPolicy(str(value))
    except ValueError:
        known = " or ".join(LostPolicy)
        raise SettingError(f"{str(value)[:64]!r} is not a lostPolicy: it must be {known}") from None


def _database(value: object) -> str:
    if not isinstance(value, str) or "://" not in value:  # the value is not repeated: it may hold a password
        raise SettingError("this is not a database URL in text, such as postgresql://user:password@host/name")
    return value


class _Parameter(NamedTuple):
    """One setting: its argument, its names in file and environment (the first wins), and who reads it."""

    argument: str
    keys: tuple[str, ...]
    variables: tuple[str, ...]
    read: Callable[[Any], object]


_PARAMETERS = (
    _Parameter("init_delay", ("initDelay",), ("INIT_DELAY", "MASTER_JOB_EXEC_INIT_DELAY"), duration),
    _Parameter("check_master_interval", ("checkMasterInterval",), ("CHECK_MASTER_INTERVAL",), duration),
    _Parameter("heartbeat_interval", ("heartbeatInterval",), ("MASTER_JOB_HEARTBEAT_INTERVAL",), duration),
    _Parameter(
        "max_heartbeat_retry_count",
        ("maxHeartbeatRetryCount",),
        ("MASTER_JOB_MAX_HEARTBEAT_RETRY_COUNT",),
        _count,
    ),
    _Parameter(
        "lease_duration",
        ("leaseDuration", "tolerance", "masterJobTolerance"),
        ("MASTER_JOB_LEASE_DURATION", "MASTER_JOB_TOLERANCE"),
        duration,
    ),
    _Parameter("stop_timeout", ("stopTimeout",), ("MASTER_JOB_STOP_TIMEOUT",), duration),
    _Parameter("lost_policy", ("lostPolicy",), ("MASTER_JOB_LOST_POLICY",), _policy),
    _Parameter("database", ("database",), ("MASTERJOB_DATABASE_URL",), _database),
)
_TIMING = tuple(Timing.__dataclass_fields__)  # their defaults are Timing's own
_DEFAULTS: dict[str, Any] = {"init_delay": 1.0, "lost_policy": LostPolicy.STOP}


def _find(
    parameter: _Parameter,
    options: Mapping[str, object],
    environ: Mapping[str, str],
    file: Mapping[str, Setting],
) -> Setting | None:
    """Return the setting from the highest level that has it, read; None where no level does."""
    given = options.get(parameter.argument)
    option = given if isinstance(given, Setting) else Setting(given, f"argument {parameter.argument}")
    variables = [
        Setting(environ.get(name, "").strip() or None, f"environment {name}") for name in parameter.variables
    ]
    found = [setting for setting in (option, *variables) if setting.value is not None]
    found += [file[key] for key in parameter.keys if key in file]
    if not found:
        return None
    try:
        return replace(found[0], value=parameter.read(found[0].value))
    except (SettingError, OverflowError) as error:
        raise SettingError(f"{found[0].source}: {error}") from None


# --- the config file


def _config_file(environ: Mapping[str, str], config: Config) -> dict[str, Setting]:
    """Return what the config file's section sets, unread, by the name it has there."""
    document = config_document(environ, config)
    if document is None:
        return {}
    section = config_section(document, SECTION)
    given: dict[str, Setting] = {}
    for name, value in section.items():
        setting = Setting(value, document.where((SECTION, name)))
        refuse_unknown(name, [key for parameter in _PARAMETERS for key in parameter.keys], setting.source)
        if isinstance(value, list | dict):
            raise SettingError(f"{setting.source} must be one value, not a list or a mapping")
        if value is not None:
            given[name] = setting
    return given


def config_document(environ: Mapping[str, str], config: Config) -> Document | None:
    """Return the config file that the argument or else the environment names; None where neither does.

    Raises:
        SettingError: it cannot be read.
    """
    if isinstance(config, Document):
        return config
    path = config_path(environ, config)
    return None if path is None else read_one(path, f"config file {path}")


def config_path(environ: Mapping[str, str], config: str | Path | None) -> str | Path | None:
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
            raise SettingError(f"{document.where(path)} must hold names and values")
    return section if isinstance(section, dict) else {}


# --- what people see


def _shown_value(value: object) -> str:
    return in_words(value) if isinstance(value, float) else str(value)
