"""Settings: the four levels, the origin of a value, and the errors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masterjob.config.redact import redact_url
from masterjob.config.settings import resolve_settings
from masterjob.election.timing import Timing, format_duration
from masterjob.election.values import LostPolicy
from masterjob.errors import SettingError, TimingError

DATABASE_URL = "postgresql+psycopg://app:geheim@db.example:5432/app"
NOT_A_DURATION = "must be from 0s to ten years, written like 500ms, 30s or 1m30s, not "
DATABASE_ENVIRON = {"MASTERJOB_DATABASE_URL": DATABASE_URL}


@dataclass
class ConfigFolder:
    """Config files in the test's own folder."""

    folder: Path

    def write(self, text: str | bytes, name: str = "config.yaml") -> Path:
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path


@pytest.fixture
def config_folder(tmp_path: Path) -> ConfigFolder:
    return ConfigFolder(tmp_path)


def resolve_error(
    options: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    config: str | Path | None = None,
) -> str:
    with pytest.raises(SettingError) as caught:
        resolve_settings(options or {}, DATABASE_ENVIRON | dict(environ or {}), config)
    return str(caught.value)


def init_delay_or_error(config: Path) -> str:
    try:
        return resolve_settings({}, DATABASE_ENVIRON, config).display_rows()[0][1]
    except SettingError as error:
        return str(error)


def section_error(config_folder: ConfigFolder, text: str) -> str:
    return resolve_error(config=config_folder.write("masterJobExecutor:\n" + text)).replace(
        str(config_folder.folder), ""
    )


# --- which level decides


def test_with_nothing_but_a_database_the_defaults_are_in_effect() -> None:
    settings = resolve_settings({}, DATABASE_ENVIRON, None)
    assert settings.timing == Timing.of()
    assert (settings.init_delay, settings.lost_policy) == (1.0, LostPolicy.STOP)
    assert settings.database.read_url() == DATABASE_URL
    assert settings.by_argument["lease_duration"].value == 24.0
    assert settings.by_argument["lease_duration"].origin == "default"


def test_an_environment_variable_beats_the_config_file(config_folder: ConfigFolder) -> None:
    config = config_folder.write("masterJobExecutor:\n  checkMasterInterval: 20s\n")
    settings = resolve_settings({}, DATABASE_ENVIRON | {"CHECK_MASTER_INTERVAL": "10s"}, config)
    assert settings.timing.check_master_interval == 10.0
    assert settings.by_argument["check_master_interval"].origin == "environment CHECK_MASTER_INTERVAL"


def test_an_argument_beats_the_environment() -> None:
    settings = resolve_settings(
        {"check_master_interval": "5s"}, DATABASE_ENVIRON | {"CHECK_MASTER_INTERVAL": "10s"}, None
    )
    assert settings.timing.check_master_interval == 5.0
    assert settings.by_argument["check_master_interval"].origin == "argument check_master_interval"


def test_the_config_file_beats_the_default_and_is_named_with_the_key(config_folder: ConfigFolder) -> None:
    config = config_folder.write("masterJobExecutor:\n  heartbeatInterval: 4s\n")
    settings = resolve_settings({}, DATABASE_ENVIRON, config)
    assert settings.timing.heartbeat_interval == 4.0
    origin = settings.by_argument["heartbeat_interval"].origin
    assert origin == f"config file {config} line 2: masterJobExecutor.heartbeatInterval"


def test_white_space_around_a_number_in_quotes_does_not_matter(config_folder: ConfigFolder) -> None:
    config = config_folder.write('masterJobExecutor: {maxHeartbeatRetryCount: " 5 ", stopTimeout: " 1s "}')
    timing = resolve_settings({}, DATABASE_ENVIRON, config).timing
    assert (timing.max_heartbeat_retry_count, timing.stop_timeout) == (5, 1.0)


def test_every_parameter_is_decided_by_itself(config_folder: ConfigFolder) -> None:
    config = config_folder.write("masterJobExecutor: {heartbeatInterval: 4s, stopTimeout: 1s, initDelay: 7s}")
    environ = DATABASE_ENVIRON | {"MASTER_JOB_STOP_TIMEOUT": "3s", "INIT_DELAY": "8s"}
    settings = resolve_settings({"init_delay": "9s"}, environ, config)
    assert (settings.timing.heartbeat_interval, settings.timing.stop_timeout, settings.init_delay) == (
        4,
        3,
        9,
    )


NAMES_BY_ARGUMENT = {
    "init_delay": (["initDelay"], ["INIT_DELAY", "MASTER_JOB_EXEC_INIT_DELAY"]),
    "check_master_interval": (["checkMasterInterval"], ["CHECK_MASTER_INTERVAL"]),
    "heartbeat_interval": (["heartbeatInterval"], ["MASTER_JOB_HEARTBEAT_INTERVAL"]),
    "max_heartbeat_retry_count": (["maxHeartbeatRetryCount"], ["MASTER_JOB_MAX_HEARTBEAT_RETRY_COUNT"]),
    "lease_duration": (
        ["leaseDuration", "tolerance", "masterJobTolerance"],
        ["MASTER_JOB_LEASE_DURATION", "MASTER_JOB_TOLERANCE"],
    ),
    "stop_timeout": (["stopTimeout"], ["MASTER_JOB_STOP_TIMEOUT"]),
    "lost_policy": (["lostPolicy"], ["MASTER_JOB_LOST_POLICY"]),
    "database": (["database"], ["MASTERJOB_DATABASE_URL"]),
}
VALID_VALUES = {
    "init_delay": "5s",
    "check_master_interval": "40s",
    "heartbeat_interval": "2s",
    "max_heartbeat_retry_count": "5",
    "lease_duration": "50s",
    "stop_timeout": "3s",
    "lost_policy": "exit",
    "database": "sqlite:///jobs.db",
}


@pytest.mark.parametrize("argument", NAMES_BY_ARGUMENT)
def test_every_name_of_a_parameter_is_read_the_first_one_first(argument: str, config_folder: ConfigFolder) -> None:
    keys, environment_variables = NAMES_BY_ARGUMENT[argument]
    base: dict[str, object] = {} if argument == "database" else {"database": DATABASE_URL}
    origins = []
    for count in range(len(environment_variables), 0, -1):
        environ = dict.fromkeys(environment_variables[-count:], VALID_VALUES[argument])
        origins.append(resolve_settings(base, environ, None).by_argument[argument].origin)
    for count in range(len(keys), 0, -1):
        section = dict.fromkeys(reversed(keys[-count:]), VALID_VALUES[argument])
        config = config_folder.write(json.dumps({"masterJobExecutor": section}), "c.json")
        origins.append(resolve_settings(base, {}, config).by_argument[argument].origin)
    expected = [f"environment {name}" for name in environment_variables]
    expected += [
        f"config file {config_folder.folder / 'c.json'} line 1: masterJobExecutor.{name}" for name in keys
    ]
    assert origins == expected


@given(given_at=st.fixed_dictionaries({name: st.sets(st.sampled_from("ae")) for name in NAMES_BY_ARGUMENT}))
def test_any_mixture_of_levels_follows_the_priority(given_at: dict[str, set[str]]) -> None:
    options = {name: VALID_VALUES[name] if "a" in where else None for name, where in given_at.items()}
    environ = {
        NAMES_BY_ARGUMENT[name][1][0]: VALID_VALUES[name] for name, where in given_at.items() if "e" in where
    }
    if not given_at["database"]:
        with pytest.raises(SettingError, match="no database"):
            resolve_settings(options, environ, None)
        return
    settings = resolve_settings(options, environ, None)
    origins = [settings.by_argument[name].origin.split()[0] for name in NAMES_BY_ARGUMENT]
    expected = [
        "argument" if "a" in given_at[name] else "environment" if "e" in given_at[name] else "default"
        for name in NAMES_BY_ARGUMENT
    ]
    assert origins == expected


def test_empty_environment_variables_and_nulls_count_as_not_given(config_folder: ConfigFolder) -> None:
    config = config_folder.write("masterJobExecutor:\n  heartbeatInterval:\n  stopTimeout: null\n  initDelay: ~\n")
    environ = DATABASE_ENVIRON | {"MASTER_JOB_HEARTBEAT_INTERVAL": "", "INIT_DELAY": "  ", "MASTERJOB_CONFIG": ""}
    settings = resolve_settings({"lease_duration": None}, environ, config)
    assert {setting.origin for name, setting in settings.by_argument.items() if name != "database"} == {"default"}


def test_an_invalid_value_that_is_overridden_is_ignored() -> None:
    settings = resolve_settings({"init_delay": "2s"}, DATABASE_ENVIRON | {"INIT_DELAY": "soon"}, None)
    assert settings.init_delay == 2.0


def test_the_lease_is_derived_from_what_is_in_effect() -> None:
    settings = resolve_settings({}, DATABASE_ENVIRON | {"MASTER_JOB_HEARTBEAT_INTERVAL": "20s"}, None)
    assert settings.timing.lease_duration == 60.0
    assert settings.by_argument["lease_duration"].origin == "default"


# --- values


@pytest.mark.parametrize("value", ["30s", 30_000, 30_000.0, timedelta(seconds=30), "30000", "0.5m"])
def test_durations_are_text_with_units_or_milliseconds(value: object) -> None:
    assert resolve_settings({"init_delay": value}, DATABASE_ENVIRON, None).init_delay == 30.0


@pytest.mark.parametrize("value", ["30s", "30000", "'30000'", "30000.0", "3e4"])
def test_a_number_in_the_file_or_the_environment_is_milliseconds(value: str, config_folder: ConfigFolder) -> None:
    config = config_folder.write(f"masterJobExecutor:\n  initDelay: {value}\n")
    assert resolve_settings({}, DATABASE_ENVIRON, config).init_delay == 30.0
    assert resolve_settings({}, DATABASE_ENVIRON | {"INIT_DELAY": value.strip("'")}, None).init_delay == 30.0


@given(seconds=st.integers(0, 86_400_000).map(lambda milliseconds: milliseconds / 1000))
def test_a_displayed_duration_can_be_written_back(seconds: float) -> None:
    settings = resolve_settings({"init_delay": format_duration(seconds)}, DATABASE_ENVIRON, None)
    assert settings.init_delay == pytest.approx(seconds)
    assert settings.display_rows()[0][1] == format_duration(seconds)


def test_the_config_file_may_be_json_indented_with_tabs(config_folder: ConfigFolder) -> None:
    text = json.dumps({"masterJobExecutor": {"initDelay": 2000, "maxHeartbeatRetryCount": 5}}, indent="\t")
    settings = resolve_settings({}, DATABASE_ENVIRON, config_folder.write(text, "config.json"))
    assert (settings.init_delay, settings.timing.max_heartbeat_retry_count) == (2.0, 5)


def test_the_environment_can_name_the_config_file_and_the_argument_beats_it(config_folder: ConfigFolder) -> None:
    one = config_folder.write("masterJobExecutor: {initDelay: 1ms}", "one.yaml")
    two = config_folder.write("masterJobExecutor: {initDelay: 2ms}", "two.yaml")
    environ = DATABASE_ENVIRON | {"MASTERJOB_CONFIG": str(one)}
    assert resolve_settings({}, environ, None).init_delay == 0.001
    assert resolve_settings({}, environ, str(two)).init_delay == 0.002


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "jobs: {b: &x 2, a: [*x, {c: d}]}", "masterJobExecutor:", "{}"]
)
def test_a_file_without_the_section_sets_nothing(text: str, config_folder: ConfigFolder) -> None:
    assert resolve_settings({}, DATABASE_ENVIRON, config_folder.write(text)).timing == Timing.of()


# --- errors


def test_without_a_database_the_error_lists_the_three_ways_to_name_one() -> None:
    with pytest.raises(SettingError) as caught:
        resolve_settings({}, {}, None)
    message = str(caught.value)
    assert "argument database" in message
    assert "MASTERJOB_DATABASE_URL" in message
    assert "masterJobExecutor in the config file" in message


@pytest.mark.parametrize(
    ("options", "environ", "message"),
    [
        (
            {"init_delay": "soon"},
            {},
            f"argument init_delay {NOT_A_DURATION}'soon'",
        ),
        (
            {"init_delay": -1},
            {},
            f"argument init_delay {NOT_A_DURATION}-1",
        ),
        (
            {"init_delay": 10**400},
            {},
            f"argument init_delay {NOT_A_DURATION}1000",
        ),
        (
            {"init_delay": [1]},
            {},
            f"argument init_delay {NOT_A_DURATION}a list",
        ),
        (
            {},
            {"INIT_DELAY": "soon"},
            f"environment INIT_DELAY {NOT_A_DURATION}'soon'",
        ),
        (
            {"max_heartbeat_retry_count": True},
            {},
            "argument max_heartbeat_retry_count must be a whole number, not true",
        ),
        (
            {"max_heartbeat_retry_count": 2.5},
            {},
            "argument max_heartbeat_retry_count must be a whole number, not 2.5",
        ),
        (
            {},
            {"MASTER_JOB_MAX_HEARTBEAT_RETRY_COUNT": "3s"},
            "environment MASTER_JOB_MAX_HEARTBEAT_RETRY_COUNT must be a whole number, not '3s'",
        ),
        (
            {"lost_policy": "pray"},
            {},
            "argument lost_policy must be stop or exit, not 'pray'",
        ),
        ({"database": 5}, {}, "argument database must be a database URL, such as"),
        (
            {"heartbeat_intervall": 5},
            {},
            "argument heartbeat_intervall is not known: did you mean heartbeat_interval?",
        ),
        ({"x": 5}, {}, "argument x is not known: use one of init_delay, check_master_interval, "),
    ],
)
def test_an_error_names_what_and_where(options: dict[str, object], environ: dict[str, str], message: str) -> None:
    assert resolve_error(options, environ).startswith(message)


def test_an_error_in_the_file_names_its_line(config_folder: ConfigFolder) -> None:
    message = section_error(config_folder, "  heartbeatInterval: 8s\n  initDelay: soon\n")
    assert message.startswith("config file /config.yaml line 3: masterJobExecutor.initDelay must be from 0s")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "  heartBeatInterval: 8s",
            " line 2: masterJobExecutor.heartBeatInterval is not known: did you mean heartbeatInterval",
        ),
        ("  xyz: 8s", " line 2: masterJobExecutor.xyz is not known: use one of initDelay, "),
        ("  initDelay: [8s]", f" line 2: masterJobExecutor.initDelay {NOT_A_DURATION}a list"),
        ("  initDelay: {a: b}", f" line 2: masterJobExecutor.initDelay {NOT_A_DURATION}a mapping"),
        ("  initDelay: 1s\n  initDelay: 2s", " line 3: masterJobExecutor has initDelay twice"),
        ("  [initDelay]: 1s", " line 2: masterJobExecutor has a name that is not text"),
        ("  - initDelay", " line 1: masterJobExecutor must hold names and values"),
        ('  "a\\nb": 1', " line 2: masterJobExecutor.'a\\nb' is not known"),
        ("  <<: {initDelay: 1s}", " line 2: masterJobExecutor.<< is not known"),
    ],
)
def test_an_invalid_section_is_refused_with_its_line(text: str, message: str, config_folder: ConfigFolder) -> None:
    assert section_error(config_folder, text).startswith(f"config file /config.yaml{message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"- a list", "config file /config.yaml line 1 must hold names and values"),
        (b"a: b\na: c\n", "config file /config.yaml line 2 has a twice"),
        (b"a: 1\nb: [1, 2\n", "config file /config.yaml line 3 is neither YAML nor JSON: "),
        (b"a: 1\n---\nb: 2\n", "config file /config.yaml line 2 is neither YAML nor JSON: "),
        (b"\xff\xfe\xff\xff\xff", "config file /config.yaml is neither YAML nor JSON: "),
        (b'a: "\\UFFFFFFFF"', "config file /config.yaml is neither YAML nor JSON: "),
        (b"a: *nowhere", "config file /config.yaml line 1 is neither YAML nor JSON: "),
        (b"[" * 100_000, "config file /config.yaml is nested too deeply"),
        (b"#" * (1024 * 1024 + 1), "config file /config.yaml is larger than 1 MiB"),
    ],
)
def test_an_invalid_file_is_refused(text: bytes, message: str, config_folder: ConfigFolder) -> None:
    error = resolve_error(config=config_folder.write(text)).replace(str(config_folder.folder), "")
    assert error.startswith(message)


def test_a_file_of_just_a_mebibyte_is_read(config_folder: ConfigFolder) -> None:
    text = b"masterJobExecutor: {initDelay: 3s}\n#"
    assert (
        resolve_settings({}, DATABASE_ENVIRON, config_folder.write(text.ljust(1024 * 1024, b"."))).init_delay
        == 3.0
    )


def test_a_missing_file_or_a_folder_is_refused(config_folder: ConfigFolder) -> None:
    assert resolve_error(config=config_folder.folder / "none.yaml").endswith(
        "none.yaml cannot be read: No such file or directory"
    )
    assert resolve_error(config=config_folder.folder).endswith("cannot be read: Is a directory")
    assert "cannot be read: " in resolve_error(config="a\0b")
    assert "cannot be read: " in resolve_error(config=5)  # type: ignore[arg-type]
    assert "none.yaml cannot be read" in resolve_error(
        environ={"MASTERJOB_CONFIG": str(config_folder.folder / "none.yaml")}
    )


def test_a_bomb_of_aliases_does_not_go_off(config_folder: ConfigFolder) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    text = "\n".join([*lines, "masterJobExecutor:", "  initDelay: 3s", "  stopTimeout: *a39"])
    assert "too many values after its aliases are expanded" in resolve_error(config=config_folder.write(text))
    assert "aliases" in resolve_error(config=config_folder.write("a: &a [*a]"))


def test_an_alias_of_a_plain_value_is_read(config_folder: ConfigFolder) -> None:
    config = config_folder.write("jobs: {a: &beat 4s}\nmasterJobExecutor: {heartbeatInterval: *beat}")
    assert resolve_settings({}, DATABASE_ENVIRON, config).timing.heartbeat_interval == 4.0


def test_no_tag_constructs_anything(config_folder: ConfigFolder) -> None:
    message = section_error(config_folder, "  initDelay: !!python/name:os.system\n")
    assert f"line 2: masterJobExecutor.initDelay {NOT_A_DURATION}''" in message


def test_an_unsafe_timing_names_the_origins_of_its_values(config_folder: ConfigFolder) -> None:
    config = config_folder.write("masterJobExecutor:\n  tolerance: 9s\n")
    with pytest.raises(TimingError) as caught:
        resolve_settings({"heartbeat_interval": 4000}, DATABASE_ENVIRON, config)
    assert "leaseDuration 9s is too short for heartbeatInterval 4s and stopTimeout 2s" in str(caught.value)
    assert str(caught.value).endswith(
        "(heartbeatInterval: argument heartbeat_interval, "
        f"leaseDuration: config file {config} line 2: masterJobExecutor.tolerance, stopTimeout: default)"
    )


def test_a_value_out_of_bounds_names_its_origin() -> None:
    message = resolve_error(environ={"MASTER_JOB_HEARTBEAT_INTERVAL": "1"})
    assert message.startswith("heartbeatInterval is 1ms: it must be from 100ms")
    assert message.endswith("(heartbeatInterval: environment MASTER_JOB_HEARTBEAT_INTERVAL)")


@given(text=st.one_of(st.binary(max_size=60), st.text("masterJobExcu:tI{}[]&*!-? '\"\n\t#|>%@0\\x", max_size=60)))
def test_any_file_is_read_or_refused_in_a_sentence(
    text: bytes | str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    raw = text.encode() if isinstance(text, str) else text
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    for content in (raw, b"masterJobExecutor:\n  initDelay: " + raw):
        path.write_bytes(content)
        assert "\n" not in init_delay_or_error(path)


# --- passwords


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        (DATABASE_URL, "postgresql+psycopg://app:***@db.example:5432/app"),
        ("postgresql://app:p%40ss@h/d", "postgresql://app:***@h/d"),
        ("postgresql://app:a/b?c#d@e@h/d", "postgresql://app:***@h/d"),
        ("postgresql://app:[x@h/d", "postgresql://app:***@h/d"),
        ("postgresql://:only@h/d", "postgresql://:***@h/d"),
        ("postgresql://app:forgot/d", "postgresql://app:***/d"),
        ("postgresql://app@h:5432/d?sslmode=require", "postgresql://app@h:5432/d?sslmode=require"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("postgresql://[::1]:5432/d", "postgresql://[::1]:5432/d"),
        ("postgresql:///d?user=app&pass%77ord=x&host=h", "postgresql:///d?user=app&pass%77ord=***&host=h"),
        ("mysql+pymysql://h/d?passwd=x", "mysql+pymysql://h/d?passwd=***"),
        ("sqlite:///C:/data/jobs.db", "sqlite:///C:/data/jobs.db"),
        ("sqlite://", "sqlite://"),
    ],
)
def test_a_password_is_redacted_wherever_a_url_may_carry_it(url: str, redacted: str) -> None:
    assert redact_url(url) == redacted


@given(password=st.text(st.characters(codec="utf-8", exclude_characters="@*"), min_size=3, max_size=20))
def test_no_password_is_displayed_even_if_it_should_have_been_encoded(password: str) -> None:
    assert redact_url(f"postgresql://app:{password}@host/db") == "postgresql://app:***@host/db"


def test_no_displayed_text_holds_the_password() -> None:
    settings = resolve_settings({}, DATABASE_ENVIRON, None)
    assert settings.database.read_url() == DATABASE_URL
    for text in (
        repr(settings),
        str(settings.display_rows()),
        repr(settings.by_argument),
        str(dict(settings.by_argument)),
    ):
        assert "geheim" not in text
        assert "app:***@db.example" in text


@pytest.mark.parametrize(
    "text",
    [
        "  databas: postgresql://app:geheim@h/d",
        "  postgresql://app:geheim@h/d: 1",
        "  {postgresql://app:geheim@h/d}",
        "  postgresql://app:geheim@h/d: 1\n  postgresql://app:geheim@h/d: 1",
        "  database: app:geheim@h/d",
        "  database: [postgresql://app:geheim@h/d]",
        "  database: postgresql://app:geheim@h/d: x",
        "  database: 'postgresql://app:geheim@h/d",
        "  database: postgresql://app:geheim@h/d\n heartbeat: [",
    ],
)
def test_no_error_repeats_the_password(text: str, config_folder: ConfigFolder) -> None:
    with pytest.raises(SettingError) as caught:
        resolve_settings({}, {}, config_folder.write("masterJobExecutor:\n" + text))
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_display_rows_have_one_row_per_setting_named_as_in_the_config_file() -> None:
    rows = resolve_settings(
        {"init_delay": 2500}, DATABASE_ENVIRON | {"MASTER_JOB_LOST_POLICY": "exit"}, None
    ).display_rows()
    assert rows == [
        ("initDelay", "2.5s", "argument init_delay"),
        ("checkMasterInterval", "30s", "default"),
        ("heartbeatInterval", "8s", "default"),
        ("maxHeartbeatRetryCount", "3", "default"),
        ("leaseDuration", "24s", "default"),
        ("stopTimeout", "2s", "default"),
        ("lostPolicy", "exit", "environment MASTER_JOB_LOST_POLICY"),
        (
            "database",
            "postgresql+psycopg://app:***@db.example:5432/app",
            "environment MASTERJOB_DATABASE_URL",
        ),
    ]
