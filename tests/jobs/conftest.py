"""Fixtures for the tests of commands."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.process_checks import LogCapture, ProcessPipe


@pytest.fixture
def process_pipe(tmp_path: Path) -> Iterator[ProcessPipe]:
    process_pipe = ProcessPipe(tmp_path)
    yield process_pipe
    process_pipe.close()


@pytest.fixture
def log() -> Iterator[LogCapture]:
    handler, logger = LogCapture(), logging.getLogger("masterjob.jobs")
    level_before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level_before)
