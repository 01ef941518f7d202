"""Runs the tests that stand for the code of a planted bug, until one fails."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.simulation.mutants.planting import Mutant
from tests.simulation.mutants.plugin import VARIABLE

TIMEOUT = 600.0

ELECTOR_TESTS = sorted(
    map(str, Path("tests/election").glob("test_*.py")),
    key=lambda path: (Path(path).stem.startswith(("test_runner", "test_watchdog")), path),
)
"""Those with real time come last."""


def failing_test(mutant: Mutant) -> str:
    """Return the name of the first test that fails with the planted bug; an empty text if all pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.simulation.mutants.plugin"]
    command += ["-p", "no:cacheprovider", "--no-header", "--tb=line"]
    process = subprocess.Popen(
        [*command, *(shlex.split(mutant.tests) or ELECTOR_TESTS)],
        env={**os.environ, VARIABLE: mutant.name},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "the tests do not end"
    if failed := re.search(r"^(?:FAILED|ERROR) \S*?::(\w+)", output, re.MULTILINE):
        return failed[1]
    return "" if process.returncode == 0 else f"pytest ends with {process.returncode}"
