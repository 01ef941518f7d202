"""The server's TLS certificate with its key, reloaded when the files change; and how a change is detected.

A renewed pair is loaded into a new TLS context, to which new connections are switched. To load it into the serving
context would replace one file after the other, and a failure in between would stay. Open connections keep their
certificate.
"""

import logging
import ssl
from pathlib import Path

from masterjob.errors import SettingError

logger = logging.getLogger("masterjob")


def file_fingerprint(path: Path) -> tuple[int, ...] | None:
    """Return a value that changes with the file, or with a link to it as in mounted Secrets; None if missing."""
    try:
        stat_result = path.stat()
    except OSError:
        return None
    return stat_result.st_mtime_ns, stat_result.st_size, stat_result.st_ino, stat_result.st_dev


class Certificate:
    """A pair of PEM files. `context` is what a server listens with; it stays valid when the pair is renewed.

    Raises:
        SettingError: the pair cannot be loaded.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert = cert
        self._key = key
        self._fingerprint = self._read_fingerprint()
        self._latest_context = self.context = self._load_context()
        self.context.sni_callback = self._select_context  # called for each connection, with or without a host name

    def reload_if_changed(self) -> None:
        """Reload the files if they changed, for new connections; keep the previous pair if they are not valid."""
        fingerprint = self._read_fingerprint()
        if fingerprint == self._fingerprint:
            return
        self._fingerprint = fingerprint
        try:
            self._latest_context = self._load_context()
        except SettingError as error:
            logger.warning("the certificate was not renewed, and the previous one stays in use: %s", error)
        else:
            logger.info("the renewed certificate %s is in use for new connections", self._cert)

    def _select_context(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._latest_context

    def _read_fingerprint(self) -> tuple[tuple[int, ...] | None, ...]:
        return file_fingerprint(self._cert), file_fingerprint(self._key)

    def _load_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._cert, self._key, password=lambda: "")  # never prompt for a password
        except (OSError, ValueError) as error:
            message = f"the certificate {self._cert} with its key {self._key} cannot be used: {error}"
            raise SettingError(message) from None
        return context
