"""Without Docker or kind, the commands report what is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kind import __main__ as kind_main

OUT_OF_REACH = '#!/bin/sh\necho "Cannot connect to the Docker daemon" >&2; exit 1\n'


@pytest.fixture(autouse=True)
def new_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing but Python."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path


def install_command(machine: Path, name: str, script: str = "#!/bin/sh\n") -> None:
    (machine / name).write_text(script)
    (machine / name).chmod(0o755)


def test_all_missing_tools_are_named_at_once() -> None:
    with pytest.raises(SystemExit) as raised:
        kind_main.main(["create"])
    for word in (
        "the command docker is not on the PATH",
        "go install sigs.k8s.io/kind",
        "kubectl: run `make envtest`",
        "helm",
    ):
        assert word in str(raised.value)


def test_a_client_without_an_engine_is_not_enough(new_machine: Path) -> None:
    for name in ("kind", "kubectl", "helm"):
        install_command(new_machine, name)
    install_command(new_machine, "docker", OUT_OF_REACH.replace("#!/bin/sh", f"#!{os.path.realpath('/bin/sh')}"))
    with pytest.raises(SystemExit, match="a Docker engine: Cannot connect to the Docker daemon"):
        kind_main.main(["test"])


def test_it_fails_as_a_command_too() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.kind", "delete"], check=False, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "missing on this machine" in result.stderr
