"""Two controllers on a real PostgreSQL, each behind a proxy that can cut it off."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import masterjob
from tests.alerts.recording import Scrape, recorded_names, scrape
from tests.faults.proxy import NetworkMode, Proxy
from tests.faults.server import FaultyPostgreSQL

LOCK_NAME = "REPORT"
_CONFIG = """\
masterJobExecutor: {{initDelay: 0s}}
jobs:
  report: {job}
"""
_MANIFEST = f"""\
apiVersion: masterjob.io/v1alpha1
kind: MasterJob
metadata: {{name: report}}
spec: {{lockName: {LOCK_NAME}, job: report, heartbeatInterval: 5s, leaseDuration: 20s}}
"""


class Controllers:
    """The controllers of one scenario."""

    def __init__(self, server: FaultyPostgreSQL, directory: Path, job: str) -> None:
        self.url = server.create_effect_database()
        self._names = recorded_names()
        self._proxies = [Proxy(server.port) for _ in range(2)]
        (directory / "config.yaml").write_text(_CONFIG.format(job=job))
        (directory / "report.yaml").write_text(_MANIFEST)
        self._ports = [_free_port() for _ in self._proxies]
        self._processes = [
            self._start(directory, proxy.port, port)
            for proxy, port in zip(self._proxies, self._ports, strict=True)
        ]

    def _start(self, directory: Path, database_port: int, port: int) -> "subprocess.Popen[bytes]":
        own_port = self.url.rsplit(":", 1)[1].partition("/")[0]
        environment = {
            **os.environ,
            "MASTERJOB_DATABASE_URL": self.url.replace(f":{own_port}/", f":{database_port}/"),
        }
        arguments = ["run", str(directory / "report.yaml"), "--config", str(directory / "config.yaml")]
        with (directory / f"{port}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "masterjob", *arguments, "--port", str(port)],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def scrape(self) -> Scrape:
        """Return the series of all controllers."""
        return {
            series: value
            for number, port in enumerate(self._ports, start=1)
            for series, value in scrape(port, str(number), self._names).items()
        }

    def wait_until_running(self, timeout: float = 120.0) -> None:
        """Wait until one of them has become master, and all of them serve their metrics."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = self.scrape()
            starts = [value for series, value in found.items() if series.startswith("masterjob_is_master")]
            if len(starts) == len(self._ports) and any(masterjob.history(LOCK_NAME, database=self.url)):
                return
            time.sleep(0.5)
        raise AssertionError("no controller has become master")

    # --- faults

    def cut_all(self) -> None:
        for proxy in self._proxies:
            proxy.set_mode(NetworkMode.DROP)

    def restore_all(self) -> None:
        for proxy in self._proxies:
            proxy.set_mode(NetworkMode.CLEAR)

    def cut_master(self) -> None:
        self._proxies[self._master_index()].set_mode(NetworkMode.DROP)

    def kill_master(self) -> None:
        self._processes[self._master_index()].kill()

    def disable(self) -> None:
        masterjob.disable(LOCK_NAME, "a test", "tester", database=self.url)

    def step_down(self) -> None:
        masterjob.step_down(LOCK_NAME, "a test", "tester", database=self.url)

    def _master_index(self) -> int:
        found = self.scrape()
        return next(
            number - 1
            for number in (1, 2)
            if any(
                series.startswith("masterjob_is_master") and f'instance="{number}"' in series and value == 1
                for series, value in found.items()
            )
        )

    def close(self) -> None:
        """End the controllers and their proxies."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for proxy in self._proxies:
            proxy.set_mode(NetworkMode.CLEAR)
        for process in self._processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for proxy in self._proxies:
            proxy.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
