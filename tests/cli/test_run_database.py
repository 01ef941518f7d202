"""`masterjob run` and its database: it waits for one that is down, and ends if it is refused at the start."""

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.cli.conftest import CONFIG, RunProcess, Terminal, manifest
from tests.faults.proxy import NetworkMode, Proxy
from tests.library.conftest import wait_until
from tests.servers import PostgreSQL
from tests.timeouts import WAIT_TIMEOUT

RunStarter = Callable[..., RunProcess]


@pytest.fixture
def proxy(postgresql: PostgreSQL) -> Iterator[Proxy]:
    between = Proxy(postgresql.port)
    yield between
    between.close()


@pytest.fixture
def proxied_terminal(terminal: Terminal, postgresql: PostgreSQL, proxy: Proxy) -> Terminal:
    """The config file names a database behind the proxy."""
    url = make_url(postgresql.create_database()).set(port=proxy.port)
    terminal.url = url.render_as_string(hide_password=False)
    (terminal.folder / "config.yaml").write_text(CONFIG.format(url=terminal.url))
    return terminal


def use_database(terminal: Terminal, url: str) -> None:
    (terminal.folder / "config.yaml").write_text(CONFIG.format(url=url))


def outage_lines(process: RunProcess) -> list[str]:
    return [line.split(" ", 1)[1] for line in process.lines if "the database" in line or "retried" in line]


def get_readiness(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=WAIT_TIMEOUT) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())


def listening_port(process: RunProcess) -> int:
    return int(process.wait_for_line("listens on").rpartition(":")[2])


def test_a_database_that_refuses_at_the_start_ends_it_with_1(
    terminal: Terminal, run: RunStarter, postgresql: PostgreSQL
) -> None:
    use_database(terminal, postgresql.url("nowhere"))
    terminal.write("beep.yaml", manifest())
    process = run()
    assert process.wait() == 1
    (line,) = [line for line in process.lines if "nowhere" in line and "follows" not in line]
    assert line.startswith("masterjob: the database refuses this process, because there is no such database: ")
    assert 'database "nowhere" does not exist' in line
    assert "***@" in line
    assert not any("Traceback" in each or "retried" in each for each in process.lines)


def test_it_also_ends_without_a_manifest(terminal: Terminal, run: RunStarter) -> None:
    use_database(terminal, "sqlite:////no/such/folder/x")
    assert run().wait() == 1


def test_the_operator_ends_too(terminal: Terminal) -> None:
    kubeconfig = terminal.folder / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [cluster],
                "contexts": [context],
                "current-context": "c",
                "users": [{"name": "u", "user": {}}],
            }
        )
    )
    options = ["--kubeconfig", str(kubeconfig), "--cluster", "test", "--namespace", "default"]
    result = terminal.run_subprocess("operator", *options, "--database", "sqlite:////no/such/folder/x")
    assert result.returncode == 1
    assert "masterjob: the database refuses this process, because there is no such database: " in result.stderr


def test_a_database_that_starts_later_is_waited_for(
    proxied_terminal: Terminal, run: RunStarter, proxy: Proxy
) -> None:
    proxy.set_mode(NetworkMode.DROP)
    proxied_terminal.write("beep.yaml", manifest())
    process = run()
    line = process.wait_for_line("ERROR the database cannot be used, and is retried: PostgreSQL: ")
    assert line.endswith("; affected: BEEP\n")
    proxy.set_mode(NetworkMode.CLEAR)
    process.wait_for_line("the database answers again after ")
    process.wait_for_line("became master of BEEP")
    assert len(outage_lines(process)) == 2


def test_an_outage_is_two_lines_and_the_stop_of_each_job_one(
    proxied_terminal: Terminal, run: RunStarter, proxy: Proxy
) -> None:
    terminal = proxied_terminal
    terminal.write(
        "beep.yaml",
        manifest()
        .replace("leaseDuration: 60s", "leaseDuration: 8s")
        .replace("stopTimeout: 10s", "stopTimeout: 2s"),
    )
    process = run()
    process.wait_for_line("begins with")
    proxy.set_mode(NetworkMode.DROP)
    process.wait_for_line("ERROR the database cannot be used, and is retried: PostgreSQL: ")
    stopping = process.wait_for_line("BEEP: stopping the job: ")
    process.wait_for_line("the command has ended")
    assert "stepped down" not in "".join(process.lines)  # that is written once the lock is released
    proxy.set_mode(NetworkMode.CLEAR)
    process.wait_for_line("the database answers again after ")
    process.wait_for_line("begins with", count=2)
    assert stopping in process.lines
    lines = outage_lines(process)
    assert [line.partition(",")[0] for line in lines[:1]] == ["ERROR the database cannot be used"]
    assert "; affected: BEEP" in lines[0]
    assert [line for line in lines if "answers again" not in line] == lines[:1]


def test_a_refusal_is_named_by_readyz_and_retried_later_on(
    terminal: Terminal, run: RunStarter, postgresql: PostgreSQL
) -> None:
    url = postgresql.create_database()
    name = url.rpartition("/")[2]
    use_database(terminal, url)
    terminal.write("beep.yaml", manifest())
    process = run()
    port = listening_port(process)
    process.wait_for_line("begins with")
    wait_until(lambda: get_readiness(port).startswith("ready\n"))
    postgresql.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgresql.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    wait_until(
        lambda: "the database refuses this process, because there is no such database" in get_readiness(port)
    )
    postgresql.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    wait_until(lambda: get_readiness(port).startswith("ready\n"))
    assert process.signal_and_wait(signal.SIGTERM) == 0


def test_the_lines_have_fields(proxied_terminal: Terminal, run: RunStarter, proxy: Proxy) -> None:
    proxied_terminal.write("beep.yaml", manifest())
    process = run("--log-format", "json")
    process.wait_for_line("begins with")
    proxy.set_mode(NetworkMode.DROP)
    process.wait_for_line("cannot be used")
    proxy.set_mode(NetworkMode.CLEAR)
    process.wait_for_line("answers again")
    assert process.signal_and_wait(signal.SIGTERM) == 0
    entries: list[dict[str, Any]] = [json.loads(line) for line in process.lines]
    events = [each["event"] for each in entries if "event" in each]
    for event in ("elected", "database unavailable", "database answers", "stopping", "stepped down"):
        assert event in events
    (stopping,) = [each for each in entries if each.get("event") == "stopping"]
    (elected,) = [each for each in entries if each.get("event") == "elected"]
    assert stopping["lock"] == "BEEP"
    assert stopping["reason"] == "SIGTERM"
    assert stopping["term"] == elected["term"]
    assert stopping["instance"] == elected["instance"]
    (output,) = [each for each in entries if "begins with" in each["message"]]
    assert (output["lock"], output["term"], output["stream"]) == ("BEEP", elected["term"], "stdout")
