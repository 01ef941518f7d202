"""A certificate that is renewed while the process runs, on real TLS connections."""

import http.client
import logging
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from masterjob.election.errors import SettingError
from masterjob.web.access.certificates import Certificate
from tests.library.conftest import wait_until
from tests.web.conftest import PATIENCE, Serve

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

Files = tuple[Path, Path]
RSA, EC = "rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-256"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Files]:
    """Make a certificate of this host with its key, once a name."""
    folder = tmp_path_factory.mktemp("certificates")

    def made(name: str, kind: str = RSA) -> Files:
        cert, key = folder / f"{name}.crt", folder / f"{name}.key"
        if not cert.exists():
            command = f"openssl req -x509 -newkey {kind} -nodes -days 2 -subj /CN={name}"
            command += " -addext subjectAltName=DNS:localhost"
            subprocess.run([*command.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
        return cert, key

    return made


class Secret:
    """A Secret as it is mounted into a pod: the files are links through one that is pointed elsewhere at once."""

    def __init__(self, folder: Path, files: Files) -> None:
        self._folder = folder
        self._number = 0
        self.cert, self.key = folder / "tls.crt", folder / "tls.key"
        self.write(*files)
        self.cert.symlink_to("..data/tls.crt")
        self.key.symlink_to("..data/tls.key")

    def write(self, cert: Path, key: Path) -> None:
        self._number += 1
        (self._folder / f"..{self._number}").mkdir()
        shutil.copy(cert, self._folder / f"..{self._number}" / "tls.crt")
        shutil.copy(key, self._folder / f"..{self._number}" / "tls.key")
        (self._folder / "..new").symlink_to(f"..{self._number}")
        (self._folder / "..new").rename(self._folder / "..data")


@pytest.fixture
def secret(tmp_path: Path, made: Callable[..., Files]) -> Secret:
    return Secret(tmp_path, made("first"))


def shake_hands(server: ssl.SSLContext, trusted: Path) -> tuple[ssl.SSLObject, Callable[[bytes], bytes]]:
    """Connect to a server in memory that has this context; return the client's end, and what sends something."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server.wrap_bio(up, down, server_side=True)
    ours = ssl.create_default_context(cafile=trusted).wrap_bio(down, up, server_hostname="localhost")
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for end in {ours, theirs} - done:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            done.add(end)

    def send(data: bytes) -> bytes:
        ours.write(data)
        return theirs.read()

    return ours, send


def name_of(connection: ssl.SSLObject | ssl.SSLSocket) -> str:
    said = connection.getpeercert()
    assert said is not None
    return str(said["subject"][0][0][1])


@pytest.mark.parametrize("kind", [RSA, EC])
def test_a_renewed_certificate_is_shown_to_who_connects_then_and_who_is_connected_goes_on(
    kind: str, secret: Secret, made: Callable[..., Files]
) -> None:
    certificate = Certificate(secret.cert, secret.key)
    old, send = shake_hands(certificate.context, made("first")[0])
    renewed = made(f"second-{kind[:2]}", kind)
    secret.write(*renewed)
    assert name_of(shake_hands(certificate.context, made("first")[0])[0]) == "first"  # nobody has looked yet
    certificate.take_renewed()
    assert name_of(shake_hands(certificate.context, renewed[0])[0]) == f"second-{kind[:2]}"
    assert (send(b"still here"), name_of(old)) == (b"still here", "first")


def test_a_pair_that_does_not_fit_is_told_once_and_the_one_before_stays_until_it_does(
    secret: Secret, made: Callable[..., Files], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "masterjob")
    certificate = Certificate(secret.cert, secret.key)
    first, (second, other_key) = made("first")[0], made("second")
    shutil.copy(second, secret.cert)  # one file after the other, as somebody does by hand
    for _ in range(3):
        certificate.take_renewed()
    assert name_of(shake_hands(certificate.context, first)[0]) == "first"
    (told,) = caplog.messages
    assert told.startswith("the certificate was not renewed, and the one before is still shown: the certificate ")
    assert "KEY_VALUES_MISMATCH" in told
    shutil.copy(other_key, secret.key)
    certificate.take_renewed()
    assert name_of(shake_hands(certificate.context, second)[0]) == "second"
    assert caplog.messages[1:] == [f"the renewed certificate {secret.cert} is shown from now on"]


@pytest.mark.parametrize("broken", ["half", "empty", "gone", "locked"])
def test_what_is_no_pair_shows_nothing_of_the_key_and_the_one_before_stays(
    broken: str, secret: Secret, made: Callable[..., Files], caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Certificate(secret.cert, secret.key)
    text = secret.key.read_text()
    match broken:
        case "half":
            secret.key.write_text(text[: len(text) // 2])
        case "empty":
            secret.key.write_text("")
        case "gone":
            secret.key.resolve().unlink()
        case "locked":
            command = ["openssl", "rsa", "-aes128", "-passout", "pass:secret", "-in", str(made("first")[1])]
            subprocess.run([*command, "-out", secret.key.resolve()], check=True, capture_output=True)
    for _ in range(3):
        certificate.take_renewed()
    assert name_of(shake_hands(certificate.context, made("first")[0])[0]) == "first"
    (told,) = caplog.messages
    assert not any(line in told for line in text.splitlines())
    secret.write(*made("second"))
    certificate.take_renewed()
    assert name_of(shake_hands(certificate.context, made("second")[0])[0]) == "second"


def test_a_pair_that_is_wrong_at_the_start_is_refused(secret: Secret, made: Callable[..., Files]) -> None:
    with pytest.raises(SettingError, match=r"with its key .* cannot be used: .*MISMATCH"):
        Certificate(made("first")[0], made("second")[1])
    with pytest.raises(SettingError, match=r"cannot be used: .*No such file"):
        Certificate(secret.cert.with_name("nothing"), secret.key)


def test_the_control_api_looks_by_itself(
    secret: Secret, made: Callable[..., Files], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masterjob.web.server._SWEEP_SECONDS", 0.01)
    port = serve(tls_cert=secret.cert, tls_key=secret.key).client.port
    trusting = ssl.create_default_context(cafile=made("first")[0])
    trusting.load_verify_locations(made("second")[0])

    def connect() -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE, context=trusting)
        connection.connect()
        return connection

    def alive(connection: http.client.HTTPSConnection) -> bool:
        connection.request("GET", "/healthz")
        return connection.getresponse().read() == b"alive\n"

    def shown() -> str:
        connection = connect()
        try:
            return name_of(connection.sock)
        finally:
            connection.close()

    old = connect()
    try:
        assert (alive(old), shown()) == (True, "first")
        secret.write(*made("second"))
        wait_until(lambda: shown() == "second")
        assert alive(old)
    finally:
        old.close()
