"""The sources of the programs of the control plane, and what is refused."""

import functools
import hashlib
import http.server
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.envtest import install
from tests.envtest.programs import CONTROL_PLANE, PROGRAMS, find_program, version_of
from tests.servers import Unavailable
from tests.timeouts import WAIT_TIMEOUT

FAKE_GO = """#!/bin/sh
case "$1" in
env) echo go1.99.1 ;;
build) echo "$@" >> "$BUILDS"; while [ "$1" != -o ]; do shift; done; echo made > "$2"; chmod +x "$2" ;;
esac
"""


@pytest.fixture(autouse=True)
def new_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing installed, and a PATH with only a folder of the test."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for standard in ("nice", "sh", "chmod"):
        (commands / standard).symlink_to(shutil.which(standard) or "")
    monkeypatch.setenv("PATH", str(commands))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("BUILDS", str(tmp_path / "builds"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path


def install_command(machine: Path, name: str, script: str) -> Path:
    path = machine / "bin" / name
    path.write_text(script)
    path.chmod(0o755)
    return path


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on the loopback, and the folder that it serves."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def make_archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"controller-tools/envtest/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_a_program_that_is_missing_is_named_with_how_to_get_it() -> None:
    with pytest.raises(Unavailable, match=r"^etcd [0-9.]+ is not installed: run `make envtest`"):
        find_program("etcd")


def test_the_folder_named_by_kubebuilder_assets_is_used(
    new_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(new_machine / "bin"))
    etcd = install_command(new_machine, "etcd", "")
    assert find_program("etcd") == etcd


def test_a_program_on_the_path_is_used_if_it_has_the_exact_version(new_machine: Path) -> None:
    helm = PROGRAMS["helm"]
    on_path = install_command(new_machine, "helm", f"#!/bin/sh\necho v{helm.version}+gabc\n")
    install.link_from_path([helm])
    with pytest.raises(Unavailable):
        find_program("helm")
    on_path.write_text(f"#!/bin/sh\necho v{helm.version}\n")
    install.link_from_path([helm])
    assert find_program("helm").resolve() == on_path


def test_an_archive_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not the published one"):
        install.unpack(make_archive({"etcd": b"evil"}), hashlib.sha512(b"").hexdigest(), tmp_path, ["etcd"])
    assert not (tmp_path / "etcd").exists()


def test_a_published_archive_is_unpacked(tmp_path: Path) -> None:
    archive = make_archive({"etcd": b"\x7fELF", "kubectl": b"other"})
    install.unpack(archive, hashlib.sha512(archive).hexdigest(), tmp_path, ["etcd"])
    assert (tmp_path / "etcd").read_bytes() == b"\x7fELF"
    assert os.access(tmp_path / "etcd", os.X_OK)
    assert not (tmp_path / "kubectl").exists()


def test_the_newest_published_version_with_the_same_minor_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    published = {
        version: {f"envtest-{version}-{sys.platform}-amd64.tar.gz": {"hash": version, "selfLink": ""}}
        for version in ("v1.35.9", "v1.36.2", "v1.36.10", "v1.36.11-rc.1", "v1.37.0")
    }
    assert install.newest_patch(published, "1.36.3")[0] == "v1.36.10"
    with pytest.raises(LookupError, match=r"no release of 1\.40"):
        install.newest_patch(published, "1.40.0")


def test_a_published_archive_is_downloaded(monkeypatch: pytest.MonkeyPatch, site: tuple[str, Path]) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    url, folder = site
    name = f"envtest-v{version_of('kubernetes')}-{sys.platform}-arm64.tar.gz"
    archive = make_archive({program: program.encode() for program in CONTROL_PLANE})
    (folder / name).write_bytes(archive)
    published = {name: {"hash": hashlib.sha512(archive).hexdigest(), "selfLink": f"{url}/{name}"}}
    (folder / "releases.yaml").write_text(
        yaml.safe_dump({"releases": {f"v{version_of('kubernetes')}": published}})
    )
    monkeypatch.setattr(install, "RELEASES", f"{url}/releases.yaml")
    install.main([])
    assert [find_program(program).read_text() for program in CONTROL_PLANE] == list(CONTROL_PLANE)


def test_without_a_download_the_programs_are_built(
    new_machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install_command(new_machine, "go", FAKE_GO)
    monkeypatch.setattr(install, "RELEASES", "http://127.0.0.1:9/")
    install.main(["etcd"])
    assert find_program("etcd").read_text() == "made\n"
    output = capsys.readouterr().out
    assert "no archive from envtest" in output
    assert "building etcd" in output


def test_without_go_the_message_names_what_is_missing() -> None:
    with pytest.raises(SystemExit, match=r"Go 1\.\d+ or newer is needed to build helm, but it is not installed"):
        install.main(["helm"])


def test_an_old_go_is_named(new_machine: Path) -> None:
    install_command(new_machine, "go", FAKE_GO.replace("go1.99.1", "go1.19.8"))
    with pytest.raises(SystemExit, match=r"Go 1\.\d+ or newer is needed to build helm, but this is go1\.19\.8"):
        install.main(["helm"])


def test_a_failed_build_reports_the_error_and_installs_nothing(new_machine: Path) -> None:
    install_command(new_machine, "go", FAKE_GO.replace("build)", "build) echo no space left; exit 1 ;;\nnever)"))
    with pytest.raises(SystemExit, match=r"helm could not be built:\nno space left"):
        install.main(["helm"])
    with pytest.raises(Unavailable):
        find_program("helm")


def test_two_installations_at_once_build_once(new_machine: Path) -> None:
    install_command(new_machine, "go", FAKE_GO)
    command = [sys.executable, "-m", "tests.envtest.install", "helm"]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [one.wait(WAIT_TIMEOUT) for one in both] == [0, 0]
    assert len((new_machine / "builds").read_text().splitlines()) == 1
    assert find_program("helm").exists()


def test_an_installed_program_is_not_built_again(new_machine: Path) -> None:
    install_command(new_machine, "go", FAKE_GO)
    install.main(["helm"])
    install.main(["helm"])
    assert len((new_machine / "builds").read_text().splitlines()) == 1


def test_an_unknown_program_is_refused() -> None:
    with pytest.raises(
        SystemExit, match="unknown program kubelet; the known ones are kube-apiserver, kubectl, etcd, helm"
    ):
        install.main(["kubelet"])
