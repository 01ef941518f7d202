"""What becomes of the URLs that people write, at every surface: one sentence, the exit code, and no secret."""

import logging
import re
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

import masterjob
from masterjob.errors import SettingError, StoreUnavailable
from masterjob.runtime.runtime import current_runtime
from tests.cli.conftest import RunProcess, Terminal, manifest
from tests.store.urls import ACCEPTED, REFUSED, SECRET
from tests.web.conftest import ApiClient

JOB = masterjob.MasterJob(start=print)
NOT_EMPTY = [url for url in REFUSED if url]


def assert_no_secret(text: str) -> None:
    assert not any(piece in text for piece in (SECRET, "s3@", "@cr3t"))
    assert "Traceback" not in text
    assert "defect" not in text


@pytest.mark.parametrize("url", NOT_EMPTY)
def test_a_command_refuses_a_url_with_one_sentence_and_exit_code_1(url: str, terminal: Terminal) -> None:
    for arguments in (["list"], ["db", "upgrade"], ["enable", "BEEP"]):
        result = terminal.run(*arguments, "--database", url)
        assert result.exit_code == 1
        assert result.stderr.startswith("masterjob: option --database")
        assert result.stderr.count("\n") == 1
        assert_no_secret(result.output)
    result = terminal.run("list", url=url)
    assert result.exit_code == 1
    assert result.stderr.startswith("masterjob: environment MASTERJOB_DATABASE_URL")
    assert_no_secret(result.output)


@pytest.mark.parametrize("url", [*ACCEPTED, *REFUSED])
def test_the_settings_are_shown_without_a_secret(url: str, terminal: Terminal) -> None:
    assert_no_secret(terminal.run("config", "--database", url).output)


@pytest.mark.parametrize("url", REFUSED)
def test_the_library_refuses_a_url_at_the_call(url: str) -> None:
    for call in (
        lambda: masterjob.start_master(lock_name="JOB", master_job=JOB, database=url),
        lambda: masterjob.status(database=url),
        lambda: masterjob.start_api(database=url, port=0),
        lambda: masterjob.api_application(database=url),
    ):
        with pytest.raises(SettingError) as raised:
            call()
        assert_no_secret(str(raised.value))
    assert not current_runtime().instances()


@pytest.mark.parametrize("command", ["run", "operator"])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3@cr3t@h/db",
        "postgresql://u:s3cr3t@h/db?pgbouncer=true",
        "mysql://u:s3cr3t@h/db?parseTime=true",
    ],
)
def test_a_controller_with_a_wrong_url_does_not_begin(command: str, url: str, terminal: Terminal) -> None:
    arguments = [command, *([str(terminal.manifests)] if command == "run" else []), "--database", url]
    result = terminal.run_subprocess(*arguments)
    assert result.returncode == 1
    assert result.stderr.startswith("masterjob: option --database: the database URL is not valid")
    assert result.stderr.count("\n") == 1
    assert_no_secret(result.stdout + result.stderr)


def test_an_operator_in_an_application_refuses_a_wrong_url(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
    )
    for url in ("postgresql://u:s3@cr3t@h/db", "mysql://u:s3cr3t@h/db?parseTime=true"):
        with pytest.raises(SettingError, match="the database URL is not valid") as raised:
            masterjob.start_operator(
                database=url, kubeconfig=str(kubeconfig), namespaces=["default"], cluster="c", handle_signals=False
            )
        assert_no_secret(str(raised.value))


def test_a_controller_whose_database_is_away_shows_no_secret(
    terminal: Terminal, run: Callable[..., RunProcess]
) -> None:
    terminal.write("beep.yaml", manifest())
    url = "postgresql://app:s3cr3t%40tail@127.0.0.1:1,localhost:1/none?password=other-s3cr3t"
    url_file = terminal.folder / "url"
    url_file.write_text(url + "\n")
    config = terminal.folder / "config.yaml"
    config.write_text(config.read_text().replace(f"database: {terminal.url}", f"databaseFile: {url_file}"))
    controller = run("--port", "0", "--log-level", "debug")
    listens = re.search(r"listens on \S+:(\d+)", controller.wait_for_line("the control API listens"))
    assert listens is not None
    controller.wait_for_line("the database cannot be used")
    answers = [ApiClient(int(listens[1])).get(path) for path in ("/api/MasterLocks", "/readyz", "/metrics")]
    assert [answer.status for answer in answers] == [503, 503, 200]
    for answer in answers:
        assert_no_secret(answer.body.decode())
        assert b"127.0.0.1:1" not in answer.body
    assert controller.signal_and_wait(signal.SIGTERM) == 0
    log = "".join(controller.lines)
    assert_no_secret(log)
    assert f"on the URL in {url_file};" in log


@pytest.mark.parametrize(
    "said", ["failed to resolve host 's3cr3t@h'", "no user app with s3cr3t", "no user with s3cr3t%40tail"]
)
def test_a_driver_that_repeats_the_password_is_not_repeated(
    said: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise psycopg.OperationalError(said)

    monkeypatch.setattr(psycopg, "connect", fail)
    url = "postgresql://app:s3cr3t%40tail@127.0.0.1/db"
    for arguments in (["list"], ["db", "upgrade"]):
        result = terminal.run(*arguments, "--database", url)
        assert result.exit_code == 3
        assert "***" in result.stderr
        assert_no_secret(result.output)
    with pytest.raises(StoreUnavailable) as raised:
        masterjob.status(database=url)
    try:
        raise raised.value
    except StoreUnavailable:
        logging.getLogger("masterjob").exception("a line with a traceback")
    assert SECRET not in caplog.text


def test_a_command_takes_the_url_from_a_file(terminal: Terminal) -> None:
    file = terminal.folder / "url"
    file.write_text(terminal.url + "\n")
    assert terminal.run("disable", "BEEP", "--reason", "x", "--database-file", str(file), url="").exit_code == 0
    assert [each["lockName"] for each in terminal.run_json("list")] == ["BEEP"]
    rows = {row["name"]: row for row in terminal.run_json("config", "--database-file", str(file))}
    assert rows["database"]["value"] == f"the URL in {file}"
    assert rows["database"]["source"] == "option --database-file"
    missing = terminal.run("list", "--database-file", "/nowhere", url="")
    assert missing.exit_code == 1
    assert missing.stderr == (
        "masterjob: option --database-file: the file of the database URL, /nowhere, cannot be read: "
        "No such file or directory\n"
    )
