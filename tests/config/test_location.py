"""Where the database's URL comes from: one place for each level, files that are read when needed, and pieces."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masterjob.config.location import DatabaseLocation
from masterjob.config.redact import redact_secrets
from masterjob.config.settings import Settings, resolve_settings
from masterjob.errors import SettingError

URL = "postgresql://app:geheim@db.example/app"
PREFIX = "MASTERJOB_DATABASE_"


def settings_of(
    *, config: Path | None = None, environ: dict[str, str] | None = None, **options: object
) -> Settings:
    return resolve_settings(options, environ or {}, config)


def url_of_pieces(**pieces: str) -> str:
    return settings_of(environ={PREFIX + name: value for name, value in pieces.items()}).database.read_url()


def error_of(environ: dict[str, str], config: Path | None = None, **options: object) -> str:
    with pytest.raises(SettingError) as raised:
        resolve_settings(options, environ, config).database.read_url()
    return str(raised.value)


@pytest.fixture
def url_file(tmp_path: Path) -> Path:
    path = tmp_path / "url"
    path.write_text(f"  {URL}\n")
    return path


@pytest.fixture
def config(tmp_path: Path, url_file: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(f"masterJobExecutor:\n  databaseFile: {url_file}\n")
    return path


def test_a_file_can_be_named_at_each_level(url_file: Path, config: Path) -> None:
    for settings, origin in (
        (settings_of(database_file=url_file), "argument database_file"),
        (settings_of(environ={PREFIX + "URL_FILE": str(url_file)}), f"environment {PREFIX}URL_FILE"),
        (settings_of(config=config), f"config file {config} line 2: masterJobExecutor.databaseFile"),
    ):
        assert settings.database.read_url() == URL
        assert settings.by_argument["database"].origin == origin
        assert ("database", f"the URL in {url_file}", origin) in settings.display_rows()


def test_a_file_is_read_anew_each_time(url_file: Path) -> None:
    location = settings_of(database_file=url_file).database
    assert location.read_url() == URL
    url_file.write_text("postgresql://app:rotated@db.example/app")
    assert location.read_url() == "postgresql://app:rotated@db.example/app"


def test_a_higher_level_wins_whatever_it_names(url_file: Path, config: Path) -> None:
    environ = {PREFIX + "URL_FILE": str(url_file)}
    assert settings_of(environ=environ, config=config, database="sqlite:///x").database.read_url() == "sqlite:///x"
    environ = {PREFIX + "URL": "sqlite:///y"}
    assert settings_of(environ=environ, config=config).database.read_url() == "sqlite:///y"
    assert settings_of(environ=environ, database_file=url_file).database.read_url() == URL
    pieces = {PREFIX + "HOST": "h"}
    assert settings_of(environ=pieces, config=config).database.read_url() == "postgresql://h/"
    assert settings_of(environ=pieces, database_file=url_file).database.read_url() == URL


@pytest.mark.parametrize(
    ("environ", "options", "places"),
    [
        ({}, {"database": URL, "database_file": "f"}, ("argument database", "argument database_file")),
        (
            {PREFIX + "URL": URL, PREFIX + "URL_FILE": "f"},
            {},
            (f"environment {PREFIX}URL", f"environment {PREFIX}URL_FILE"),
        ),
        (
            {PREFIX + "URL": URL, PREFIX + "HOST": "h"},
            {},
            (f"environment {PREFIX}URL", f"environment {PREFIX}HOST"),
        ),
        (
            {PREFIX + "URL_FILE": "f", PREFIX + "PASSWORD": "geheim"},
            {},
            (f"environment {PREFIX}URL_FILE", f"environment {PREFIX}PASSWORD"),
        ),
    ],
)
def test_two_places_at_one_level_are_refused(
    environ: dict[str, str], options: dict[str, object], places: tuple[str, str]
) -> None:
    assert (
        error_of(environ, None, **options)
        == f"{places[0]} and {places[1]} both name the database: keep one of them"
    )


def test_two_places_in_the_config_file_are_refused(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("masterJobExecutor:\n  database: sqlite:///x\n  databaseFile: f\n")
    message = error_of({}, config)
    assert "line 2: masterJobExecutor.database and " in message
    assert message.endswith("line 3: masterJobExecutor.databaseFile both name the database: keep one of them")


def test_a_file_that_cannot_be_read_is_an_error_with_its_path(tmp_path: Path) -> None:
    missing, empty, binary, long = (tmp_path / name for name in ("missing", "empty", "binary", "long"))
    empty.write_text(" \n")
    binary.write_bytes(b"\xff\xfe")
    long.write_text("x" * 70_000)
    for path, problem in (
        (missing, "cannot be read: No such file or directory"),
        (tmp_path, "cannot be read: Is a directory"),
        (empty, "is empty"),
        (binary, "cannot be read: it is not text in UTF-8"),
        (long, "is too long"),
    ):
        assert error_of({}, database_file=path) == f"the file of the database URL, {path}, {problem}"


def test_a_url_where_a_path_is_expected_is_not_repeated() -> None:
    message = error_of({PREFIX + "URL_FILE": URL})
    assert message == f"environment {PREFIX}URL_FILE must be the path of a file that holds the database URL"


# --- pieces


def test_pieces_make_a_url() -> None:
    assert url_of_pieces(HOST="h") == "postgresql://h/"
    assert (
        url_of_pieces(HOST="h", PORT="5433", NAME="app", USER="u", PASSWORD="p") == "postgresql://u:p@h:5433/app"
    )
    assert url_of_pieces(HOST="h", NAME="app", SCHEME="mysql", OPTIONS="ssl-mode=REQUIRED") == (
        "mysql://h/app?ssl-mode=REQUIRED"
    )
    assert url_of_pieces(HOST="a, b:7", PORT="5") == "postgresql://a:5,b:7/"
    assert url_of_pieces(HOST="/run/postgresql", NAME="a/b") == "postgresql://%2Frun%2Fpostgresql/a%2Fb"
    assert url_of_pieces(HOST="::1", PORT="5") == "postgresql://[::1]:5/"


def test_pieces_need_no_encoding() -> None:
    url = url_of_pieces(HOST="h", USER="a@b", PASSWORD="p@s:s/w#r?d%41")
    assert url == "postgresql://a%40b:p%40s%3As%2Fw%23r%3Fd%2541@h/"


def test_the_password_of_the_pieces_may_be_in_a_file_that_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("o/ne\n")
    environ = {PREFIX + "HOST": "h", PREFIX + "USER": "u", PREFIX + "PASSWORD_FILE": str(file)}
    location = settings_of(environ=environ).database
    assert location.read_url() == "postgresql://u:o%2Fne@h/"
    file.write_text("two")
    assert location.read_url() == "postgresql://u:two@h/"
    file.unlink()
    with pytest.raises(SettingError, match="the file of the database's password"):
        location.read_url()


def test_pieces_that_do_not_fit_together_are_refused() -> None:
    assert error_of({PREFIX + "PASSWORD": "geheim"}) == (
        f"environment {PREFIX}PASSWORD is set, but {PREFIX}HOST is not: the host is missing"
    )
    both = {PREFIX + "HOST": "h", PREFIX + "PASSWORD": "geheim", PREFIX + "PASSWORD_FILE": "f"}
    assert error_of(both) == f"environment {PREFIX}PASSWORD is set beside {PREFIX}PASSWORD_FILE: keep one of them"


def test_the_port_that_kubernetes_sets_for_a_service_of_that_name_does_not_count() -> None:
    link = {PREFIX + "PORT": "tcp://10.0.0.7:5432"}
    assert settings_of(environ={PREFIX + "URL": URL} | link).database.read_url() == URL
    assert settings_of(environ={PREFIX + "HOST": "h"} | link).database.read_url() == "postgresql://h/"


# --- secrets


def test_no_location_shows_its_password() -> None:
    settings = settings_of(environ={PREFIX + "HOST": "h", PREFIX + "USER": "u", PREFIX + "PASSWORD": "geheim"})
    assert "geheim" not in repr(settings) + str(settings.database) + str(settings.display_rows())
    assert str(settings.database) == "postgresql://u:***@h/"
    assert str(DatabaseLocation(url_file="/f")) == "the URL in /f"


@given(secret=st.text(min_size=1, max_size=20), around=st.sampled_from(["{}", "x {} y", "({})", "'{}'@h"]))
def test_a_secret_is_struck_out_of_any_message(secret: str, around: str) -> None:
    shown = redact_secrets(around.format(secret), [secret])
    assert shown == around.format("***") or secret in "x y()'@h*"


def test_a_short_secret_does_not_garble_longer_words() -> None:
    assert redact_secrets("no password for p", ["p"]) == "no password for ***"
