"""Options > environment > config file > defaults, for each parameter by itself, and where each came from.

Nothing but the composition root reads this: the rooms are given values. Every error is one sentence that says
what is wrong and where it was written. A database's password is in `Settings.database` and nowhere else.

Source: design section 5.
"""

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

import yaml

from masterjob.election.errors import SettingError
from masterjob.election.timing import Timing, duration, in_words
from masterjob.election.values import LostPolicy

SECTION = "masterJobExecutor"
_FILE_LIMIT = 1024 * 1024
_SECRETS = ("pass", "pwd", "secret", "token")
_NO_PORT = re.compile(r"^([^:/?\[]*):(?!\d+(?:[/?]|$))[^/?]*")  # user:password where the host was forgotten


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and, in words, where it came from; ``line`` is set for a config file's."""

    value: object
    source: str
    line: int | None = None

    @property
    def where(self) -> str:
        """The source as an error names it: with the line, where there is one."""
        return self.source if self.line is None else f"{self.source} (line {self.line})"


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


def resolve(options: Mapping[str, object], environ: Mapping[str, str], config: str | Path | None) -> Settings:
    """Return the settings in effect.

    ``options`` goes by argument name, None meaning "not given"; so does an empty environment variable and a
    null in the file. ``config`` is the config file's path; without it ``MASTERJOB_CONFIG`` is.

    Raises:
        SettingError: a value, a name or the config file is wrong, or no database is named.
        TimingError: the timing breaks the one inequality (design 3.4).

    Source: design section 5.
    """
    for name in options:
        _refuse_unknown(name, [parameter.argument for parameter in _PARAMETERS], f"argument {name}")
    file = _config_file(environ, config)
    found = {parameter.argument: _find(parameter, options, environ, file) for parameter in _PARAMETERS}
    given = {argument: setting for argument, setting in found.items() if setting is not None}
    return _settings(given)


def _settings(given: dict[str, Setting]) -> Settings:
    if "database" not in given:
        raise SettingError(
            "no database is named: pass the argument database, set the environment's MASTERJOB_DATABASE_URL, "
            f"or write database under {SECTION} in the config file"
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
        where = [given[each.argument].where if each.argument in given else "default" for each in blamed]
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
    levels = [(options.get(parameter.argument), f"argument {parameter.argument}")]
    levels += [(environ.get(name, "").strip() or None, f"environment {name}") for name in parameter.variables]
    found = [Setting(value, source) for value, source in levels if value is not None]
    found += [file[key] for key in parameter.keys if key in file]
    if not found:
        return None
    try:
        return replace(found[0], value=parameter.read(found[0].value))
    except (SettingError, OverflowError) as error:
        raise SettingError(f"{found[0].where}: {error}") from None


# --- the config file


def _config_file(environ: Mapping[str, str], config: str | Path | None) -> dict[str, Setting]:
    """Return what the config file's section sets, unread, by the name it has there."""
    path = environ.get("MASTERJOB_CONFIG", "").strip() or None if config is None else config
    if path is None:
        return {}
    where = f"config file {path}"
    top = _mapping(_document(path, where), where)
    section = _mapping(top[SECTION], f"{where}: {SECTION}") if SECTION in top else {}
    given: dict[str, Setting] = {}
    for name, node in section.items():
        setting = Setting(_text(node), f"{where}: {SECTION}.{_echo(name)}", node.start_mark.line + 1)
        _refuse_unknown(name, [key for parameter in _PARAMETERS for key in parameter.keys], setting.where)
        if not isinstance(node, yaml.ScalarNode):
            raise SettingError(f"{setting.where} must be one value, not a list or a mapping")
        if setting.value is not None:
            given[name] = setting
    return given


def _document(path: str | Path, where: str) -> yaml.Node | None:
    """Return the file as nodes: nothing is constructed and no alias is expanded, so nothing can blow up."""
    raw = _read(path, where)
    if raw.lstrip().startswith(b"{"):
        raw = raw.replace(b"\t", b" ")  # JSON may be indented with tabs, which YAML does not allow
    try:
        return yaml.compose(raw, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:  # its own text quotes the file, which may hold a password
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise SettingError(f"{where}{line} is neither YAML nor JSON: {error.problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError):  # as for an escape beyond the last character
        raise SettingError(f"{where} is neither YAML nor JSON: it has characters that are none") from None
    except RecursionError:
        raise SettingError(f"{where} is nested too deeply") from None


def _read(path: str | Path, where: str) -> bytes:
    try:
        with Path(os.fspath(path)).open("rb") as file:
            raw = file.read(_FILE_LIMIT + 1)
    except (OSError, TypeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SettingError(f"{where} cannot be read: {why}") from None
    if len(raw) > _FILE_LIMIT:
        raise SettingError(f"{where} is larger than 1 MiB")
    return raw


def _mapping(node: yaml.Node | None, where: str) -> dict[str, yaml.Node]:
    """Return the values of a mapping by name; of nothing at all, nothing."""
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise SettingError(f"{where} (line {node.start_mark.line + 1}) must hold names and values")
    entries: dict[str, yaml.Node] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise SettingError(f"{where} (line {line}) has a name that is not text")
        if key.value in entries:
            raise SettingError(f"{where} (line {line}) has {_echo(key.value)} twice")
        entries[key.value] = value
    return entries


def _echo(name: str) -> str:
    """Return a name as errors may repeat it: whoever forgot a key has perhaps written a URL in its place."""
    text = masked(name)[:64]
    return text if text.isprintable() else repr(text)


def _text(node: yaml.Node) -> str | None:
    return None if node.tag == "tag:yaml.org,2002:null" else node.value


def _refuse_unknown(name: str, known: Iterable[str], where: str) -> None:
    known = list(known)
    if name not in known:
        nearest = difflib.get_close_matches(name[:64], known, 1)
        hint = f"is {nearest[0]} meant?" if nearest else f"known are {', '.join(known)}"
        raise SettingError(f"{where} is not known: {hint}")


# --- what people see


def masked(url: str) -> str:
    """Return ``url`` with stars for the password, wherever a database URL may carry one.

    What should have been percent-encoded may stand in a password as it is, so all from the first colon to the
    last @ is taken for it: rather too much is hidden than a part of it shown.
    """
    scheme, mark, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    place = place if at else _NO_PORT.sub(r"\1:***", place)
    head, question, query = f"{scheme}{mark}{user}{colon and ':***'}{at}{place}".partition("?")
    return head + question + "&".join(_masked_field(each) for each in query.split("&"))


def _masked_field(text: str) -> str:
    name, equals, value = text.partition("=")
    secret = any(word in unquote_plus(name).lower() for word in _SECRETS)
    return f"{name}{equals}{'***' if secret else value}"


def _shown_value(value: object) -> str:
    return in_words(value) if isinstance(value, float) else str(value)
