"""Environments of other interpreters and packages, for tests with programs that this project does not depend on.

Each is created once on a machine, beside the tests, with the newest packages. A test is skipped by name if an
interpreter is not installed. If a package cannot be downloaded it is skipped too, or fails with
MASTERJOB_REQUIRE_ENVIRONMENTS=1.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DIRECTORY = ROOT / ".test-environments"
_LIBRARY = ("SQLAlchemy>=2.0.40", "alembic>=1.14", "psycopg[binary]>=3.2.4", "PyMySQL>=1.1.1", "PyYAML>=6.0.1")
"""What the library needs, without the command line, the control API and Kubernetes."""
_INSTALL_TIMEOUT = 540.0


def python_with(*packages: str) -> Path:
    """Return our own interpreter with these packages in addition to ours, which they precede."""
    installed_by_us = sysconfig.get_paths()["purelib"]
    name = f"{'-'.join(packages)}-{sys.version_info.major}.{sys.version_info.minor}"
    return _environment(name, Path(sys.executable), packages, [installed_by_us])


def python_of_version(version: str) -> Path:
    """Return another interpreter, such as ``3.12``, with what the library needs."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return Path(sys.executable)
    interpreter = _find_interpreter(version)
    if interpreter is None:
        pytest.skip(f"Python {version} is not installed")
    return _environment(f"python{version}", interpreter, _LIBRARY, [])


def start(python: Path, *arguments: str, cwd: Path | None = None, **environment: str) -> "subprocess.Popen[str]":
    """Start the interpreter with these arguments; its output and its errors come together."""
    return subprocess.Popen(
        [python, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _find_interpreter(version: str) -> Path | None:
    candidates = [Path(found)] if (found := shutil.which(f"python{version}")) else []
    candidates += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    return next((each for each in candidates if _works(each, version)), None)


def _works(interpreter: Path, version: str) -> bool:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    completed = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=False)
    return completed.returncode == 0 and completed.stdout.strip() == version


def _environment(name: str, interpreter: Path, packages: tuple[str, ...], paths: list[str]) -> Path:
    directory = DIRECTORY / name
    python, finished = directory / "bin" / "python", directory / "finished"
    DIRECTORY.mkdir(exist_ok=True)
    with (DIRECTORY / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes share the tests
        if not finished.exists():
            _create(directory, interpreter, packages, [str(ROOT / "controller"), *paths])
            finished.touch()
    return python


def _create(directory: Path, interpreter: Path, packages: tuple[str, ...], paths: list[str]) -> None:
    install = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        for command in ([str(interpreter), "-m", "venv", "--clear", str(directory)], [*install, *packages]):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT)
    except subprocess.SubprocessError as error:
        output = getattr(error, "stderr", "") or str(error)
        reason = f"{' '.join(packages)} cannot be installed: {str(output).strip()[-300:]}"
        if os.environ.get("MASTERJOB_REQUIRE_ENVIRONMENTS") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    (site_packages,) = directory.glob("lib/python*/site-packages")
    (site_packages / "masterjob-tests.pth").write_text("".join(f"{path}\n" for path in paths))
