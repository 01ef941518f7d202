"""Examples as separate processes, as a reader would start them."""

import json
import os
import queue
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.timeouts import WAIT_TIMEOUT

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


class ExampleProcess:
    """One running example; its lines arrive in a queue."""

    def __init__(self, url: str, command: list[str], directory: Path | None = None) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "MASTERJOB_DATABASE_URL": url},
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.lines_read: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for_line(self, text: str) -> str:
        """Wait for a line that contains the text."""
        while (line := self._lines.get(timeout=WAIT_TIMEOUT)) is not None:
            self.lines_read.append(line)
            if text in line:
                return line
        raise AssertionError(f"ended without a line with {text!r}: {self.lines_read}")

    def remaining_lines(self) -> list[str]:
        """Wait for its end, and return the lines that were not read yet."""
        lines: list[str] = []
        while (line := self._lines.get(timeout=WAIT_TIMEOUT)) is not None:
            lines.append(line)
        return lines

    @property
    def pid(self) -> int:
        return self._process.pid

    def send_signal(self, signum: int) -> None:
        self._process.send_signal(signum)

    def wait(self) -> int:
        return self._process.wait(WAIT_TIMEOUT)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(WAIT_TIMEOUT)
        assert self._process.stdout is not None
        self._process.stdout.close()


StartExample = Callable[..., ExampleProcess]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'demo.sqlite3'}"


@pytest.fixture
def start(url: str) -> Iterator[StartExample]:
    running: list[ExampleProcess] = []

    def start_example(name: str, *arguments: str, directory: Path | None = None) -> ExampleProcess:
        suffix = Path(name).suffix
        command = {".py": [sys.executable], ".mjs": ["node"]}.get(suffix, [sys.executable, "-m"])
        target = str(EXAMPLES / name) if suffix in (".py", ".mjs") else name
        example = ExampleProcess(url, [*command, target, *arguments], directory)
        running.append(example)
        return example

    yield start_example
    for example in running:
        example.kill()


def get_page(port: int) -> dict[str, Any]:
    """Return the page of the example, once it is served."""
    pause = threading.Event()
    for _ in range(int(WAIT_TIMEOUT / 0.05)):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=WAIT_TIMEOUT) as response:
                page: dict[str, Any] = json.load(response)
                return page
        except urllib.error.URLError:
            pause.wait(0.05)
    raise AssertionError(f"no page on port {port}")
