"""The certificate by which clients know this server, with its key; taken again whenever its files change.

A renewed pair is loaded into a context of its own, and connections that come in then are moved there: into the
context that serves, one file after the other would be loaded, and what goes wrong between the two would stay.
Connections that are there go on with what they were begun with.
"""

import logging
import ssl
from pathlib import Path

from masterjob.errors import SettingError
from masterjob.web.access.changes import file_fingerprint

logger = logging.getLogger("masterjob")


class Certificate:
    """A pair of PEM files. `context` is what a server listens with, for as long as it likes.

    Raises:
        SettingError: the pair cannot be used at the start.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert = cert
        self._key = key
        self._fingerprint = self._read_fingerprint()
        self._latest_context = self.context = self._load_context()
        self.context.sni_callback = (
            self._select_context
        )  # it is called for each connection, whether it names a host or not

    def reload_if_changed(self) -> None:
        """Show new connections what the files hold by now; the pair before, where that cannot be used."""
        fingerprint = self._read_fingerprint()
        if fingerprint == self._fingerprint:
            return
        self._fingerprint = fingerprint
        try:
            self._latest_context = self._load_context()
        except SettingError as error:
            logger.warning("the certificate was not renewed, and the one before is still shown: %s", error)
        else:
            logger.info("the renewed certificate %s is shown from now on", self._cert)

    def _select_context(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._latest_context

    def _read_fingerprint(self) -> tuple[tuple[int, ...] | None, ...]:
        return file_fingerprint(self._cert), file_fingerprint(self._key)

    def _load_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._cert, self._key, password=lambda: "")  # never ask a terminal for one
        except (OSError, ValueError) as error:
            message = f"the certificate {self._cert} with its key {self._key} cannot be used: {error}"
            raise SettingError(message) from None
        return context
