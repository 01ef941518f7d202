"""Examples as processes of their own, as a reader would start them."""

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

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PATIENCE = 30.0


class Example:
    """One running example; its lines arrive in a queue."""

    def __init__(self, url: str, command: list[str], folder: Path | None = None) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "MASTERJOB_DATABASE_URL": url},
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.seen: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def says(self, words: str) -> str:
        """Wait for a line with these words in it."""
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.seen.append(line)
            if words in line:
                return line
        raise AssertionError(f"ended without a word of {words!r}: {self.seen}")

    def rest(self) -> list[str]:
        """Wait for its end, and return all that it said since it was last listened to."""
        lines: list[str] = []
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            lines.append(line)
        return lines

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(PATIENCE)

    def clean_up(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()


Start = Callable[..., Example]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'demo.sqlite3'}"


@pytest.fixture
def start(url: str) -> Iterator[Start]:
    running: list[Example] = []

    def begin(name: str, *arguments: str, folder: Path | None = None) -> Example:
        suffix = Path(name).suffix
        command = {".py": [sys.executable], ".mjs": ["node"]}.get(suffix, [sys.executable, "-m"])
        place = str(EXAMPLES / name) if suffix in (".py", ".mjs") else name
        example = Example(url, [*command, place, *arguments], folder)
        running.append(example)
        return example

    yield begin
    for example in running:
        example.clean_up()


def get(port: int) -> dict[str, Any]:
    """Ask the example's page, once it is up."""
    pulse = threading.Event()
    for _ in range(int(PATIENCE / 0.05)):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as answer:
                page: dict[str, Any] = json.load(answer)
                return page
        except urllib.error.URLError:
            pulse.wait(0.05)
    raise AssertionError("no page")
