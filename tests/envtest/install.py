"""Bring the programs of the control plane onto this machine, outside the repository, once for each version.

    python -m tests.envtest.install             kube-apiserver, kubectl and etcd
    python -m tests.envtest.install helm        another one

Each is taken from where it comes fastest: what KUBEBUILDER_ASSETS or the PATH has in this very version, else the
archive that the project envtest publishes, else a build with Go from the modules beside this file, whose go.sum
says what may go into it. The build takes minutes, and says so while it does.
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

from tests.envtest.programs import CONTROL_PLANE, PROGRAMS, Program, cache, find, version_of
from tests.servers import Unavailable

RELEASES = "https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml"
"""What envtest has published: archives by version, each with its address and its SHA-512."""

_PATIENCE = 5.0  # for a connection, and for each piece: who cannot get there goes on at once
_A_LINE_EVERY = 30.0
_ASKED = {"kubectl": ["version", "--client"], "helm": ["version", "--short"]}  # all others: --version


def main(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown:
        sys.exit(f"{unknown[0]} is not known: known are {', '.join(PROGRAMS)}")
    wanted = [PROGRAMS[name] for name in names or CONTROL_PLANE]
    if not _missing(wanted):
        return
    with _alone():
        for way in (link, download, build):
            way(_missing(wanted))


def _missing(programs: Sequence[Program]) -> list[Program]:
    return [program for program in programs if not _is_here(program)]


def _is_here(program: Program) -> bool:
    with contextlib.suppress(Unavailable):
        return bool(find(program.name))
    return False


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let one at a time install on this machine; who waited finds it done."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("somebody else is installing here: waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _workplace() -> Iterator[Path]:
    """A folder on the disk of the cache, so that what is done there is put into its place in one step."""
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as name:
        yield Path(name)


def _put(made: Path, program: Program, whence: str) -> None:
    program.place.parent.mkdir(exist_ok=True)
    made.replace(program.place)
    _say(f"{program.name}: {whence}, as {program.place}")


def _say(text: str) -> None:
    print(f"envtest: {text}", flush=True)


# --- what is on this machine already


def link(programs: Sequence[Program]) -> None:
    """Use what the PATH has, where it is of the very version."""
    for program in programs:
        found = shutil.which(program.name)
        if found and _said_version(program.name, found) == program.version:
            with _workplace() as place:
                made = place / program.name
                made.symlink_to(Path(found).resolve())
                _put(made, program, f"taken from {found}")


def _said_version(name: str, path: str) -> str | None:
    """Return the first version that a program says of itself."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = [path, *_ASKED.get(name, ["--version"])]
        said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30).stdout
        found = re.search(r"v?(\d+\.\d+\.\d+\S*)", said)
        return found[1] if found else None
    return None


# --- what envtest has published


def download(programs: Sequence[Program]) -> None:
    """Use the published archive of the same minor version, where it can be had and is what it was published as."""
    missing = [program for program in programs if program.name in CONTROL_PLANE]
    if not missing:
        return
    try:
        published = yaml.safe_load(_fetched(RELEASES))["releases"]
        version, archive = newest(published, version_of("kubernetes"))
        with _workplace() as place:
            unpack(_fetched(archive["selfLink"]), archive["hash"], place, [program.name for program in missing])
            for program in missing:
                _put(place / program.name, program, f"downloaded (envtest {version})")
    except (OSError, LookupError, TypeError, ValueError, yaml.YAMLError, tarfile.TarError) as error:
        _say(f"no archive of envtest ({error})")


def newest(published: dict[str, Any], version: str) -> tuple[str, dict[str, str]]:
    """Return the newest of the published versions that have the same minor version, and its archive for us."""
    minor = version.rpartition(".")[0]
    patches = [name for name in published if re.fullmatch(rf"v{re.escape(minor)}\.\d+", name)]
    if not patches:
        raise LookupError(f"there is none of {minor}")
    chosen = max(patches, key=lambda name: int(name.rpartition(".")[2]))
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    archive: dict[str, str] = published[chosen][f"envtest-{chosen}-{sys.platform}-{machine}.tar.gz"]
    return chosen, archive


def unpack(archive: bytes, published_hash: str, place: Path, names: Sequence[str]) -> None:
    """Put the named programs of an archive into a folder, if it is the archive that was published."""
    if hashlib.sha512(archive).hexdigest() != published_hash:
        raise ValueError("it is not the one that was published: its SHA-512 differs")
    packed = place / "envtest.tar.gz"
    packed.write_bytes(archive)
    with tarfile.open(packed) as content:
        inside = {Path(member.name).name: member for member in content.getmembers() if member.isfile()}
        for name in names:
            source = content.extractfile(inside[name])
            assert source is not None
            (place / name).write_bytes(source.read())
            (place / name).chmod(0o755)


def _fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:
        content: bytes = answer.read()
        return content


# --- what can be built


def build(programs: Sequence[Program]) -> None:
    """Build them with Go, one after the other, from modules whose go.sum is kept here."""
    if programs:
        _demand_go(programs)
    for program in programs:
        with _workplace() as place:
            seconds = _build(program, place)
            _put(place / program.name, program, f"built in {_elapsed(seconds)}")


def _demand_go(programs: Sequence[Program]) -> None:
    wanted = re.search(r"^go (\d+\.\d+)", (programs[0].source / "go.mod").read_text(), re.MULTILINE)
    assert wanted is not None
    advice = f"Go {wanted[1]} or newer is needed to build {', '.join(program.name for program in programs)}"
    others = "(https://go.dev/dl); or have KUBEBUILDER_ASSETS name a folder with the programs of envtest"
    if shutil.which("go") is None:
        sys.exit(f"envtest: {advice}, and there is none here {others}")
    said = subprocess.run(["go", "env", "GOVERSION"], check=False, capture_output=True, text=True).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < (1, 21):  # from 1.21 on, it gets a newer one by itself
        sys.exit(f"envtest: {advice}, and this is {said or 'none that answers'} {others}")


def _build(program: Program, place: Path) -> float:
    stamps = " ".join(f"-X {variable}={value}" for variable, value in program.stamps.items())
    command = ["go", "build", "-v", "-trimpath", "-ldflags", f"-s -w {stamps}", "-o", str(place / program.name)]
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    _say(f"building {program.name} {program.version} with Go: this takes minutes, once a machine")
    started = time.monotonic()
    with (place / "log").open("w+") as log:
        process = subprocess.Popen(
            ["nice", *command, program.package],
            cwd=program.source,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        _watch(process, place / "log", program, started)
    if process.returncode:
        sys.exit(f"envtest: {program.name} could not be built:\n{(place / 'log').read_text()[-2000:]}")
    return time.monotonic() - started


def _watch(process: subprocess.Popen[bytes], log: Path, program: Program, started: float) -> None:
    """Say every now and then how far it is: Go writes a line for each package that it compiles."""
    try:
        while True:
            try:
                process.wait(_A_LINE_EVERY)
            except subprocess.TimeoutExpired:
                lines = log.read_text().splitlines()
                compiled = sum(not line.startswith("go: ") for line in lines)
                elapsed = _elapsed(time.monotonic() - started)
                _say(f"{program.name}: {elapsed}, {len(lines) - compiled} modules, {compiled} packages so far")
            else:
                return
    finally:
        process.kill()  # where we are interrupted, so is it


def _elapsed(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


if __name__ == "__main__":
    main(sys.argv[1:])
