"""Install the programs of the control plane on this machine, outside the repository, once for each version.

    python -m tests.envtest.install             kube-apiserver, kubectl and etcd
    python -m tests.envtest.install helm        another one

The sources, in this order: KUBEBUILDER_ASSETS, the PATH if it has exactly this version, the archive that the
project envtest publishes, and a build with Go from the modules beside this file, whose go.sum pins all
dependencies. The build takes minutes, and reports its progress.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.envtest.programs import CONTROL_PLANE, PROGRAMS, Program, cache_dir, find_program, version_of
from tests.servers import Unavailable

RELEASES = "https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml"
"""The releases of envtest: archives by version, each with its URL and SHA-512."""

_TIMEOUT = 5.0  # for the connection and each read; without a network, the next source is tried soon
_PROGRESS_INTERVAL = 30.0
_VERSION_ARGUMENTS = {"kubectl": ["version", "--client"], "helm": ["version", "--short"]}  # others: --version


def main(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown:
        sys.exit(f"unknown program {unknown[0]}; the known ones are {', '.join(PROGRAMS)}")
    wanted = [PROGRAMS[name] for name in names or CONTROL_PLANE]
    if not _missing(wanted):
        return
    with _install_lock():
        for install_from in (link_from_path, download, build):
            install_from(_missing(wanted))


def _missing(programs: Sequence[Program]) -> list[Program]:
    return [program for program in programs if not _is_installed(program)]


def _is_installed(program: Program) -> bool:
    with contextlib.suppress(Unavailable):
        return bool(find_program(program.name))
    return False


@contextlib.contextmanager
def _install_lock() -> Iterator[None]:
    """Allow one installation at a time on this machine."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log("waiting for another installation on this machine")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _staging_dir() -> Iterator[Path]:
    """Yield a temporary folder in the cache, from which files are moved into place atomically."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir()) as name:
        yield Path(name)


def _move_into_place(built: Path, program: Program, origin: str) -> None:
    program.path.parent.mkdir(exist_ok=True)
    built.replace(program.path)
    _log(f"{program.name}: {origin}, as {program.path}")


def _log(text: str) -> None:
    print(f"envtest: {text}", flush=True)


# --- from this machine


def link_from_path(programs: Sequence[Program]) -> None:
    """Link to programs on the PATH that have exactly this version."""
    for program in programs:
        found = shutil.which(program.name)
        if found and _reported_version(program.name, found) == program.version:
            with _staging_dir() as staging_dir:
                staged = staging_dir / program.name
                staged.symlink_to(Path(found).resolve())
                _move_into_place(staged, program, f"taken from {found}")


def _reported_version(name: str, path: str) -> str | None:
    """Return the first version in the output of the program."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = [path, *_VERSION_ARGUMENTS.get(name, ["--version"])]
        output = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120).stdout
        found = re.search(r"v?(\d+\.\d+\.\d+\S*)", output)
        return found[1] if found else None
    return None


# --- from envtest


def download(programs: Sequence[Program]) -> None:
    """Download the published archive of the same minor version, if possible, and check its hash."""
    missing = [program for program in programs if program.name in CONTROL_PLANE]
    if not missing:
        return
    try:
        published = yaml.safe_load(_fetch(RELEASES))["releases"]
        version, archive = newest_patch(published, version_of("kubernetes"))
        with _staging_dir() as staging_dir:
            unpack(
                _fetch(archive["selfLink"]), archive["hash"], staging_dir, [program.name for program in missing]
            )
            for program in missing:
                _move_into_place(staging_dir / program.name, program, f"downloaded (envtest {version})")
    except (OSError, LookupError, TypeError, ValueError, yaml.YAMLError, tarfile.TarError) as error:
        _log(f"no archive from envtest ({error})")


def newest_patch(published: dict[str, Any], version: str) -> tuple[str, dict[str, str]]:
    """Return the newest published version with the same minor version, and its archive for this platform."""
    minor = version.rpartition(".")[0]
    patches = [name for name in published if re.fullmatch(rf"v{re.escape(minor)}\.\d+", name)]
    if not patches:
        raise LookupError(f"no release of {minor}")
    chosen = max(patches, key=lambda name: int(name.rpartition(".")[2]))
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    archive: dict[str, str] = published[chosen][f"envtest-{chosen}-{sys.platform}-{machine}.tar.gz"]
    return chosen, archive


def unpack(archive: bytes, published_hash: str, directory: Path, names: Sequence[str]) -> None:
    """Extract the named programs of an archive into a folder, if its hash is the published one."""
    if hashlib.sha512(archive).hexdigest() != published_hash:
        raise ValueError("the SHA-512 of the archive is not the published one")
    archive_file = directory / "envtest.tar.gz"
    archive_file.write_bytes(archive)
    with tarfile.open(archive_file) as content:
        members = {Path(member.name).name: member for member in content.getmembers() if member.isfile()}
        for name in names:
            source = content.extractfile(members[name])
            assert source is not None
            (directory / name).write_bytes(source.read())
            (directory / name).chmod(0o755)


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
        content: bytes = response.read()
        return content


# --- from source


def build(programs: Sequence[Program]) -> None:
    """Build the programs with Go, one after the other, from the modules beside this file."""
    if programs:
        _require_go(programs)
    for program in programs:
        with _staging_dir() as staging_dir:
            seconds = _run_build(program, staging_dir)
            _move_into_place(staging_dir / program.name, program, f"built in {_format_elapsed(seconds)}")


def _require_go(programs: Sequence[Program]) -> None:
    required = re.search(r"^go (\d+\.\d+)", (programs[0].source / "go.mod").read_text(), re.MULTILINE)
    assert required is not None
    advice = f"Go {required[1]} or newer is needed to build {', '.join(program.name for program in programs)}"
    alternatives = "(https://go.dev/dl); or set KUBEBUILDER_ASSETS to a folder with the programs of envtest"
    if shutil.which("go") is None:
        sys.exit(f"envtest: {advice}, but it is not installed {alternatives}")
    output = subprocess.run(["go", "env", "GOVERSION"], check=False, capture_output=True, text=True).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", output)
    if found is None or (int(found[1]), int(found[2])) < (
        1,
        21,
    ):  # from 1.21 on, Go downloads a newer toolchain itself
        sys.exit(f"envtest: {advice}, but this is {output or 'an unknown version'} {alternatives}")


def _run_build(program: Program, staging_dir: Path) -> float:
    linker_flags = " ".join(f"-X {variable}={value}" for variable, value in program.linker_variables.items())
    command = [
        "go",
        "build",
        "-v",
        "-trimpath",
        "-ldflags",
        f"-s -w {linker_flags}",
        "-o",
        str(staging_dir / program.name),
    ]
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    _log(f"building {program.name} {program.version} with Go; this takes minutes, once for each machine")
    started = time.monotonic()
    with (staging_dir / "log").open("w+") as log:
        process = subprocess.Popen(
            ["nice", *command, program.package],
            cwd=program.source,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        _report_progress(process, staging_dir / "log", program, started)
    if process.returncode:
        sys.exit(f"envtest: {program.name} could not be built:\n{(staging_dir / 'log').read_text()[-2000:]}")
    return time.monotonic() - started


def _report_progress(process: subprocess.Popen[bytes], log: Path, program: Program, started: float) -> None:
    """Report the progress from time to time: Go logs a line for each package that it compiles."""
    try:
        while True:
            try:
                process.wait(_PROGRESS_INTERVAL)
            except subprocess.TimeoutExpired:
                lines = log.read_text().splitlines()
                compiled = sum(not line.startswith("go: ") for line in lines)
                elapsed = _format_elapsed(time.monotonic() - started)
                _log(f"{program.name}: {elapsed}, {len(lines) - compiled} modules, {compiled} packages so far")
            else:
                return
    finally:
        process.kill()  # if it was interrupted


def _format_elapsed(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


if __name__ == "__main__":
    main(sys.argv[1:])
