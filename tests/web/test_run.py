"""The control API in real processes: `masterjob run`, a library user, and mounted in another application."""

import asyncio
import datetime
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import masterjob
from masterjob.errors import SettingError
from masterjob.runtime.runtime import current_runtime
from masterjob.web.config import AuthMode
from tests.cli.conftest import RunProcess, Terminal, manifest, run, terminal  # noqa: F401 - fixtures
from tests.library.conftest import wait_until
from tests.timeouts import WAIT_TIMEOUT
from tests.web.conftest import DISABLE_PATH, ENABLE_PATH, ApiClient, ServeApi

StartController = Callable[..., RunProcess]


def client_of(controller: RunProcess, site: str = "control API") -> ApiClient:
    matched = re.search(r"listens on (https?)://\S+:(\d+)", controller.wait_for_line(f"the {site} listens"))
    assert matched is not None
    return ApiClient(int(matched[2]))


def test_run_serves_the_switch_of_its_locks(terminal: Terminal, run: StartController) -> None:  # noqa: F811
    terminal.write("beep.yaml", manifest())
    controller = run("--port", "0")
    client = client_of(controller)
    controller.wait_for_line("became master of BEEP")
    assert client.post_form(DISABLE_PATH, lockName="BEEP", reason="testing").json == "Flagged BEEP as disabled"
    log_line = controller.wait_for_line("stepped down from BEEP")
    assert "disabled by 127.0.0.1 (api): testing" in log_line
    lock = terminal.run_json("status", "BEEP")
    assert (lock["disabled"]["actor"], lock["disabled"]["source"]) == ("127.0.0.1", "api")
    assert client.post_form(ENABLE_PATH, lockName="BEEP").status == 200
    controller.wait_for_line("became master of BEEP", count=2)
    wait_until(lambda: client.get("/api/MasterLocks/BEEP").json["state"] == "Running")
    assert controller.signal_and_wait(signal.SIGTERM) == 0


def test_its_metrics_count_the_election(terminal: Terminal, run: StartController) -> None:  # noqa: F811
    terminal.write("beep.yaml", manifest())
    controller = run("--no-api", "--probe-port", "0", "--probe-host", "127.0.0.1")
    probes = client_of(controller, "probe port")
    controller.wait_for_line("begins with")
    wait_until(lambda: b'masterjob_is_master{lock="BEEP"} 1.0' in probes.get("/metrics").body)
    text = probes.get("/metrics").body.decode()
    assert 'masterjob_transitions_total{kind="elected",lock="BEEP"} 1.0' in text
    assert re.search(r"masterjob_trust_left_seconds \d+\.\d+", text)
    wait_until(lambda: probes.get("/healthz").status == 200)
    assert probes.get("/readyz").status == 200


def test_a_port_that_is_taken_is_an_error_in_the_log_and_the_election_goes_on(
    terminal: Terminal,  # noqa: F811
    run: StartController,  # noqa: F811
) -> None:
    terminal.write("beep.yaml", manifest())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        controller = run("--port", str(port))
        log_line = controller.wait_for_line("cannot listen")
        assert f"ERROR the control API cannot listen on 127.0.0.1 port {port}, and retries every 10 s" in log_line
        assert "Address already in use" in log_line
        controller.wait_for_line("became master of BEEP")
        assert controller.signal_and_wait(signal.SIGTERM) == 0


def test_a_host_that_is_not_a_valid_name_is_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture, serve: ServeApi
) -> None:
    serve(host="no..name", auth=AuthMode.NONE)
    assert "the control API cannot listen on no..name port 0, and retries every 10 s: " in caplog.text


def test_a_failure_at_the_start_is_logged_and_ends_the_server(
    caplog: pytest.LogCaptureFixture, serve: ServeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("masterjob.web.server.application", fail)
    api = serve(probe_port=0, probe_host="127.0.0.1")
    api.server._thread.join(WAIT_TIMEOUT)
    assert not api.server._thread.is_alive()
    assert api.server.port is None
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.getMessage() == "the control API has failed and ended; the election goes on"
    assert record.exc_info is not None
    assert "ZeroDivisionError: a defect" in caplog.text


def test_run_does_not_start_if_others_could_call_the_api_without_an_explicit_auth_mode(terminal: Terminal) -> None:  # noqa: F811
    result = terminal.run_subprocess("run", str(terminal.manifests), "--host", "0.0.0.0")
    assert result.returncode == 1
    assert "host 0.0.0.0 can be reached by others" in result.stderr
    result = terminal.run_subprocess("run", str(terminal.manifests), "--auth", "token", "--tokens", "nothing.yaml")
    assert "token file nothing.yaml cannot be read" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_config_file_may_set_the_address(terminal: Terminal, run: StartController) -> None:  # noqa: F811
    config = terminal.folder / "config.yaml"
    config.write_text(config.read_text() + "controlApi: {port: 0, host: 127.0.0.1}\n")
    terminal.write("beep.yaml", manifest())
    assert client_of(run()).get("/api/MasterLocks").status == 200


def test_what_a_file_disables_is_enabled_in_the_file(terminal: Terminal, run: StartController) -> None:  # noqa: F811
    terminal.write("beep.yaml", manifest(more="  enabled: false\n  disabledReason: moving\n"))
    controller = run("--port", "0")
    client = client_of(controller)
    terminal.wait_for("Disabled")
    answer = client.post_form(ENABLE_PATH, lockName="BEEP")
    assert answer.status == 409
    assert "BEEP is still disabled by file:default/beep: moving" in answer.message


def test_a_disable_ends_by_itself_at_its_time(terminal: Terminal, run: StartController) -> None:  # noqa: F811
    terminal.write("beep.yaml", manifest())
    controller = run("--port", "0")
    client = client_of(controller)
    controller.wait_for_line("became master of BEEP")
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(
        seconds=6
    )  # the request has to arrive before that
    assert client.post_form(DISABLE_PATH, lockName="BEEP", reason="a moment", until=soon.isoformat()).status == 200
    controller.wait_for_line("stepped down from BEEP")
    controller.wait_for_line("became master of BEEP", count=2)
    assert terminal.election_history("BEEP")[:2] == ["elected", "enabled"]


def test_tls_by_certificate_files(terminal: Terminal, run: StartController) -> None:  # noqa: F811
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    cert, key = terminal.folder / "cert.pem", terminal.folder / "key.pem"
    openssl_command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    openssl_command += " -addext subjectAltName=DNS:localhost"
    subprocess.run([*openssl_command.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    client = client_of(run("--port", "0", "--tls-cert", str(cert), "--tls-key", str(key)))
    client.host, client.tls = "localhost", ssl.create_default_context(cafile=cert)
    assert client.get("/healthz").body == b"alive\n"
    assert (
        client.post_form(
            DISABLE_PATH, {"Origin": f"https://localhost:{client.port}"}, lockName="X", reason="x"
        ).status
        == 200
    )
    result = terminal.run_subprocess("run", str(terminal.manifests), "--tls-cert", str(key), "--tls-key", str(key))
    assert result.returncode == 1
    assert "cannot be used" in result.stderr


# --- the library


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in [name for name in os.environ if name.startswith("MASTERJOB_")]:
        monkeypatch.delenv(name)
    return f"sqlite:///{tmp_path / 'masterjob.sqlite3'}"


def test_a_library_user_starts_it_and_it_needs_no_election(url: str) -> None:
    api = masterjob.start_api(port=0, database=url)
    try:
        assert api.wait_for_bind_attempt()
        client = ApiClient(api.port or 0)
        assert client.post_form(DISABLE_PATH, lockName="X", reason="from outside").status == 200
        assert masterjob.status("X", database=url)[0].state == "Disabled"
        assert client.get("/readyz").status == 200
    finally:
        api.close()
    with pytest.raises(ConnectionRefusedError):
        client.get("/healthz")


@pytest.fixture
def compete() -> Iterator[Callable[[str], masterjob.Master]]:
    """Compete for a lock with a lease that no stall of the machine ends."""
    masters: list[masterjob.Master] = []

    def start_competing(url: str) -> masterjob.Master:
        timing = {"init_delay": 0, "heartbeat_interval": "1s", "lease_duration": "60s", "stop_timeout": "10s"}
        job = masterjob.MasterJob(lambda: None, lambda: None)
        masters.append(masterjob.start_master(lock_name="X", master_job=job, database=url, **timing))  # type: ignore[arg-type]
        return masters[-1]

    yield start_competing
    for master in masters:
        master.close()


def test_a_stuck_election_fails_healthz(url: str, compete: Callable[[str], masterjob.Master]) -> None:
    api = masterjob.start_api(port=0, database=url)
    master = compete(url)
    try:
        wait_until(lambda: master.is_master)
        client = ApiClient(api.port or 0)
        wait_until(lambda: client.get("/healthz").status == 200)  # a stall of the machine counts as a lag
        (instance,) = current_runtime().instances()
        with instance.runner._step_lock:  # as if a step hung
            wait_until(lambda: client.get("/healthz").status == 503)
            assert b"thread is" in client.get("/healthz").body
        wait_until(lambda: client.get("/healthz").status == 200)
    finally:
        api.close()


def test_a_database_that_is_away_fails_readyz_and_the_calls_but_not_healthz(
    url: str, compete: Callable[[str], masterjob.Master]
) -> None:
    unreachable_url = "postgresql://app:geheim@127.0.0.1:1/none"
    api = masterjob.start_api(port=0, database=unreachable_url)
    compete(unreachable_url)
    try:
        wait_until(lambda: api.port is not None)
        client = ApiClient(api.port or 0)
        wait_until(lambda: client.get("/healthz").status == 200)  # a stall of the machine counts as a lag
        assert (client.get("/readyz").status, client.get("/readyz").body) == (
            503,
            b"the database was not reached yet\n",
        )
        answer = client.get("/api/MasterLocks")
        assert (answer.status, answer.message) == (503, "the database did not answer: try again")
        assert b"geheim" not in answer.body
    finally:
        api.close()


def test_a_wrong_argument_of_the_library_is_an_error_at_once(url: str) -> None:
    with pytest.raises(SettingError, match="argument prot is not known: did you mean port"):
        masterjob.start_api(prot=0, database=url)
    with pytest.raises(SettingError, match="can be reached by others"):
        masterjob.start_api(host="0.0.0.0", port=0, database=url)


def test_it_can_be_mounted_in_another_application(url: str) -> None:
    async def scenario() -> None:
        app = web.Application()
        app.add_subapp("/masterjob", masterjob.api_application(database=url))
        async with TestClient(TestServer(app)) as client:
            disabled = await client.post(
                "/masterjob/api/MasterControls/disable", data={"lockName": "X", "reason": "x"}
            )
            assert (await disabled.json()).startswith("Flagged X as disabled in advance")
            described = await client.get("/masterjob/api/openapi.json")
            assert (await described.json())["servers"][0]["url"] == ".."
            assert (await client.get("/masterjob/explorer")).status == 200
            assert (await client.get("/masterjob/nothing")).status == 404
            assert (await client.get("/masterjob/API/masterlocks/X")).status == 200

    asyncio.run(scenario())


def test_importing_the_library_imports_no_web_server() -> None:
    script = "import sys, masterjob, masterjob.cli.app; print({'aiohttp', 'prometheus_client'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
