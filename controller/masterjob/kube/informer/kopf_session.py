"""kopf's way to the API server: a session of its own that tells what kopf does, which kopf itself does not.

    a LIST was answered      there was a gap in what the watch has told, and what vanished in it nobody will tell
    a WATCH was answered     it hears from now on

The token is read again with each session. Where it is refused a new session comes soon, but not at once: kopf
would ask without a pause.

What must not be here: what is done about it.

Source: design section 6.2.
"""

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import aiohttp
import kopf
from kubernetes.client.rest import should_bypass_proxies

from masterjob.concurrency.clock import clock
from masterjob.kube.api.client import PLURAL
from masterjob.kube.api.config import ClusterConfig

_SESSION_LIFETIME = timedelta(minutes=10)
_MIN_LOGIN_INTERVAL = 2.0
"""Seconds between two logins at least."""


class KopfSessionFactory:
    """Makes sessions. ``on_list`` and ``on_watch`` are called on kopf's loop, with the path that was asked for."""

    def __init__(
        self, config: ClusterConfig, on_list: Callable[[], None], on_watch: Callable[[str], None]
    ) -> None:
        self._config = config
        self._on_list, self._on_watch = on_list, on_watch
        self._last_login_at = float("-inf")

    async def login(self, **_: object) -> kopf.AiohttpSession:
        """Return a session with the credentials of this moment; kopf calls this, and closes what it is given."""
        await asyncio.sleep(self._last_login_at + _MIN_LOGIN_INTERVAL - clock())
        self._last_login_at = clock()
        try:
            return self._open_session()
        except (OSError, ValueError) as error:
            raise kopf.TemporaryError(
                f"there are no credentials at the moment: {error}", delay=_MIN_LOGIN_INTERVAL
            ) from None

    def _open_session(self) -> kopf.AiohttpSession:
        configuration = self._config.configuration
        authorization_header = self._config.authorization_header()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._ssl_context()),
            headers={
                "User-Agent": "masterjob",
                **({"Authorization": authorization_header} if authorization_header else {}),
            },
            proxy=None
            if should_bypass_proxies(configuration.host, configuration.no_proxy or "")
            else configuration.proxy,
            trace_configs=[self._trace_config()],
        )
        return kopf.AiohttpSession(
            server=configuration.host, aiohttp_session=session, expiration=datetime.now(UTC) + _SESSION_LIFETIME
        )

    def _ssl_context(self) -> ssl.SSLContext | bool:
        configuration = self._config.configuration
        if configuration.host.startswith("http:"):  # as `kubectl proxy` offers it
            return True
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        ).as_ssl_context()

    def _trace_config(self) -> aiohttp.TraceConfig:
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._on_request_end)
        return trace

    async def _on_request_end(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        if params.response.status != 200 or params.url.name != PLURAL:
            return
        if "watch" in params.url.query:
            self._on_watch(params.url.path)
        else:
            self._on_list()
