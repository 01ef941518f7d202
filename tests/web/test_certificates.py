"""A certificate that is renewed while the process runs, on real TLS connections."""

import http.client
import logging
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from masterjob.errors import SettingError
from masterjob.web.access.certificates import Certificate
from tests.library.conftest import wait_until
from tests.timeouts import WAIT_TIMEOUT
from tests.web.conftest import ServeApi

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

CertificatePair = tuple[Path, Path]
RSA, EC = "rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-256"


@pytest.fixture(scope="module")
def make_certificate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], CertificatePair]:
    """Make a certificate of this host with its key, once for each name."""
    folder = tmp_path_factory.mktemp("certificates")

    def make_pair(name: str, key_type: str = RSA) -> CertificatePair:
        cert, key = folder / f"{name}.crt", folder / f"{name}.key"
        if not cert.exists():
            command = f"openssl req -x509 -newkey {key_type} -nodes -days 2 -subj /CN={name}"
            command += " -addext subjectAltName=DNS:localhost"
            subprocess.run([*command.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
        return cert, key

    return make_pair


class MountedSecret:
    """A Secret as mounted into a pod: the files are links through a directory link that is replaced atomically."""

    def __init__(self, folder: Path, files: CertificatePair) -> None:
        self._folder = folder
        self._number = 0
        self.cert, self.key = folder / "tls.crt", folder / "tls.key"
        self.replace(*files)
        self.cert.symlink_to("..data/tls.crt")
        self.key.symlink_to("..data/tls.key")

    def replace(self, cert: Path, key: Path) -> None:
        self._number += 1
        (self._folder / f"..{self._number}").mkdir()
        shutil.copy(cert, self._folder / f"..{self._number}" / "tls.crt")
        shutil.copy(key, self._folder / f"..{self._number}" / "tls.key")
        (self._folder / "..new").symlink_to(f"..{self._number}")
        (self._folder / "..new").rename(self._folder / "..data")


@pytest.fixture
def secret(tmp_path: Path, make_certificate: Callable[..., CertificatePair]) -> MountedSecret:
    return MountedSecret(tmp_path, make_certificate("first"))


def handshake(server: ssl.SSLContext, trusted: Path) -> tuple[ssl.SSLObject, Callable[[bytes], bytes]]:
    """Connect to an in-memory server with this context; return the client's end and a function that sends data."""
    client_to_server, server_to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_end = server.wrap_bio(client_to_server, server_to_client, server_side=True)
    client_end = ssl.create_default_context(cafile=trusted).wrap_bio(
        server_to_client, client_to_server, server_hostname="localhost"
    )
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for end in {client_end, server_end} - done:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            done.add(end)

    def send(data: bytes) -> bytes:
        client_end.write(data)
        return server_end.read()

    return client_end, send


def peer_name(connection: ssl.SSLObject | ssl.SSLSocket) -> str:
    peer_certificate = connection.getpeercert()
    assert peer_certificate is not None
    return str(peer_certificate["subject"][0][0][1])


@pytest.mark.parametrize("kind", [RSA, EC])
def test_a_renewed_certificate_is_served_to_new_connections_and_open_ones_go_on(
    kind: str, secret: MountedSecret, make_certificate: Callable[..., CertificatePair]
) -> None:
    certificate = Certificate(secret.cert, secret.key)
    old_connection, send = handshake(certificate.context, make_certificate("first")[0])
    renewed = make_certificate(f"second-{kind[:2]}", kind)
    secret.replace(*renewed)
    # The files were not checked yet.
    assert peer_name(handshake(certificate.context, make_certificate("first")[0])[0]) == "first"
    certificate.reload_if_changed()
    assert peer_name(handshake(certificate.context, renewed[0])[0]) == f"second-{kind[:2]}"
    assert (send(b"still here"), peer_name(old_connection)) == (b"still here", "first")


def test_a_pair_that_does_not_fit_is_logged_once_and_the_previous_one_stays_until_it_does(
    secret: MountedSecret, make_certificate: Callable[..., CertificatePair], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "masterjob")
    certificate = Certificate(secret.cert, secret.key)
    first, (second, other_key) = make_certificate("first")[0], make_certificate("second")
    shutil.copy(second, secret.cert)  # one file after the other, as if copied by hand
    for _ in range(3):
        certificate.reload_if_changed()
    assert peer_name(handshake(certificate.context, first)[0]) == "first"
    (message,) = caplog.messages
    assert message.startswith(
        "the certificate was not renewed, and the previous one stays in use: the certificate "
    )
    assert "KEY_VALUES_MISMATCH" in message
    shutil.copy(other_key, secret.key)
    certificate.reload_if_changed()
    assert peer_name(handshake(certificate.context, second)[0]) == "second"
    assert caplog.messages[1:] == [f"the renewed certificate {secret.cert} is in use for new connections"]


@pytest.mark.parametrize("broken", ["half", "empty", "gone", "locked"])
def test_a_broken_pair_logs_nothing_of_the_key_and_the_previous_one_stays(
    broken: str,
    secret: MountedSecret,
    make_certificate: Callable[..., CertificatePair],
    caplog: pytest.LogCaptureFixture,
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
            command = [
                "openssl",
                "rsa",
                "-aes128",
                "-passout",
                "pass:secret",
                "-in",
                str(make_certificate("first")[1]),
            ]
            subprocess.run([*command, "-out", secret.key.resolve()], check=True, capture_output=True)
    for _ in range(3):
        certificate.reload_if_changed()
    assert peer_name(handshake(certificate.context, make_certificate("first")[0])[0]) == "first"
    (message,) = caplog.messages
    assert not any(line in message for line in text.splitlines())
    secret.replace(*make_certificate("second"))
    certificate.reload_if_changed()
    assert peer_name(handshake(certificate.context, make_certificate("second")[0])[0]) == "second"


def test_a_pair_that_is_wrong_at_the_start_is_refused(
    secret: MountedSecret, make_certificate: Callable[..., CertificatePair]
) -> None:
    with pytest.raises(SettingError, match=r"with its key .* cannot be used: .*MISMATCH"):
        Certificate(make_certificate("first")[0], make_certificate("second")[1])
    with pytest.raises(SettingError, match=r"cannot be used: .*No such file"):
        Certificate(secret.cert.with_name("nothing"), secret.key)


def test_the_control_api_reloads_it_by_itself(
    secret: MountedSecret,
    make_certificate: Callable[..., CertificatePair],
    serve: ServeApi,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("masterjob.web.server._SWEEP_INTERVAL", 0.01)
    port = serve(tls_cert=secret.cert, tls_key=secret.key).client.port
    client_context = ssl.create_default_context(cafile=make_certificate("first")[0])
    client_context.load_verify_locations(make_certificate("second")[0])

    def connect() -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection("localhost", port, timeout=WAIT_TIMEOUT, context=client_context)
        connection.connect()
        return connection

    def alive(connection: http.client.HTTPSConnection) -> bool:
        connection.request("GET", "/healthz")
        return connection.getresponse().read() == b"alive\n"

    def current_name() -> str:
        connection = connect()
        try:
            return peer_name(connection.sock)
        finally:
            connection.close()

    old_connection = connect()
    try:
        assert (alive(old_connection), current_name()) == (True, "first")
        secret.replace(*make_certificate("second"))
        wait_until(lambda: current_name() == "second")
        assert alive(old_connection)
    finally:
        old_connection.close()
