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

from masterjob.election.clock import clock
from masterjob.kube.api.client import PLURAL
from masterjob.kube.api.login import Access

_LASTS = timedelta(minutes=10)
_PAUSE = 2.0
"""Seconds between two logins at least."""


class Sessions:
    """Makes sessions. ``listed`` and ``watching`` are called on kopf's loop, with the path that was asked for."""

    def __init__(self, access: Access, listed: Callable[[], None], watching: Callable[[str], None]) -> None:
        self._access = access
        self._listed, self._watching = listed, watching
        self._last = float("-inf")

    async def login(self, **_: object) -> kopf.AiohttpSession:
        """Return a session with the credentials of this moment; kopf calls this, and closes what it is given."""
        await asyncio.sleep(self._last + _PAUSE - clock())
        self._last = clock()
        try:
            return self._session()
        except (OSError, ValueError) as error:
            raise kopf.TemporaryError(f"there are no credentials at the moment: {error}", delay=_PAUSE) from None

    def _session(self) -> kopf.AiohttpSession:
        way = self._access.configuration
        authorization = self._access.authorization()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._secure()),
            headers={"User-Agent": "masterjob", **({"Authorization": authorization} if authorization else {})},
            proxy=None if should_bypass_proxies(way.host, way.no_proxy or "") else way.proxy,
            trace_configs=[self._trace()],
        )
        return kopf.AiohttpSession(server=way.host, aiohttp_session=session, expiration=datetime.now(UTC) + _LASTS)

    def _secure(self) -> ssl.SSLContext | bool:
        way = self._access.configuration
        if way.host.startswith("http:"):  # as `kubectl proxy` offers it
            return True
        return kopf.ConnectionInfo(
            server=way.host,
            ca_path=way.ssl_ca_cert,
            insecure=not way.verify_ssl,
            certificate_path=way.cert_file,
            private_key_path=way.key_file,
        ).as_ssl_context()

    def _trace(self) -> aiohttp.TraceConfig:
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._answered)
        return trace

    async def _answered(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, done: aiohttp.TraceRequestEndParams
    ) -> None:
        if done.response.status != 200 or done.url.name != PLURAL:
            return
        if "watch" in done.url.query:
            self._watching(done.url.path)
        else:
            self._listed()
