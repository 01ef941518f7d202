"""The thread of the control API, with its own event loop, and the ports that it listens on.

If a port cannot be bound, that is logged and retried, and nothing else in the process is affected. Certificates or
tokens that are not valid raise an error at once: a retry would not help. Any other failure is logged and ends the
server.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from masterjob.errors import SettingError
from masterjob.web.access.auth import AllowAllAuthorizer, Authorizer, BearerAuthorizer, LoopbackAuthorizer
from masterjob.web.access.certificates import Certificate
from masterjob.web.access.tokens import TokenFile
from masterjob.web.app import ApplicationComponents, application, probe_application
from masterjob.web.config import AuthMode, ListenConfig
from masterjob.web.connections import ConnectionLimit
from masterjob.web.interfaces import Authenticator

logger = logging.getLogger("masterjob")

TOKEN_REVIEW_TTL = 5.0
"""Seconds for which a cluster's answer about a token is reused."""

API_SITE_NAME, PROBE_SITE_NAME = "control API", "probe port"

BIND_RETRY_DELAY = 10.0
"""Seconds between attempts to bind a port."""

_KEEPALIVE_TIMEOUT = 15.0
_HANDSHAKE_TIMEOUT = 10.0
_SWEEP_INTERVAL = 1.0


class _DebugLogAdapter(logging.LoggerAdapter[logging.Logger]):
    """Logs what aiohttp says of malformed requests at debug level: their senders must not fill the log."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        super().log(min(level, logging.DEBUG), msg, *args, **kwargs)


@dataclass(frozen=True, slots=True)
class _Site:
    """One port: its name in the log, its application, and its address."""

    name: str
    create_app: Callable[[], web.Application]
    host: str
    port: int
    certificate: Certificate | None = None


class Server:
    """The running control API of this process, created by `start_server`.

    Only `wait_for_bind_attempt` and `close` block.
    """

    def __init__(self, sites: Sequence[_Site]) -> None:
        self._sites = sites
        self._loop = asyncio.new_event_loop()
        self._shutdown_requested = asyncio.Event()
        self._bound_ports: dict[str, int] = {}
        self._untried = {site.name for site in sites}
        self._all_tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name="masterjob-api", daemon=True)

    @property
    def port(self) -> int | None:
        """The port of the control API; None until it listens."""
        return self._bound_ports.get(API_SITE_NAME)

    @property
    def probe_port(self) -> int | None:
        """The port of the probes; None until it listens."""
        return self._bound_ports.get(PROBE_SITE_NAME)

    def wait_for_bind_attempt(self, timeout: float) -> bool:
        """Wait until each port was tried once or the server has failed; return False after ``timeout`` seconds."""
        return self._all_tried.wait(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Stop listening and end all connections; wait up to ``timeout`` seconds."""
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._shutdown_requested.set)
        self._thread.join(timeout)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            logger.exception("the control API has failed and ended; the election goes on")
        finally:
            self._all_tried.set()
            self._loop.close()

    async def _serve(self) -> None:
        """Serve all sites until shutdown is requested or one of them fails."""
        if not self._sites:
            self._all_tried.set()
        sites = [asyncio.create_task(self._serve_site(site)) for site in self._sites]
        shutdown = asyncio.create_task(self._shutdown_requested.wait())
        ended, _ = await asyncio.wait([*sites, shutdown], return_when=asyncio.FIRST_COMPLETED)
        await _cancel(sites)
        # What is left: batches whose clients have disconnected, or connections that were just being opened.
        await _cancel(asyncio.all_tasks() - {asyncio.current_task()})
        await asyncio.sleep(0)  # closed transports call back in the loop's next iteration
        for task in ended:
            task.result()  # raises what made a site fail

    async def _serve_site(self, site: _Site) -> None:
        """Serve one port until cancelled."""
        runner = web.AppRunner(
            site.create_app(),
            access_log=None,
            handle_signals=False,
            keepalive_timeout=_KEEPALIVE_TIMEOUT,
            shutdown_timeout=1.0,
            logger=_DebugLogAdapter(logger),
        )
        await runner.setup()
        assert runner.server is not None  # noqa: S101 - for the type checker
        connections = ConnectionLimit(runner.server)
        server: asyncio.Server | None = None
        try:
            server = await self._listen(site, connections)
            await self._sweep(site, connections)
        finally:
            if server is not None:
                server.close()
            await runner.cleanup()
            await connections.abort_all()

    async def _sweep(self, site: _Site, connections: ConnectionLimit) -> None:
        """Abort clients that do not read, and reload a renewed certificate, periodically until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL)
            connections.abort_unread(self._loop.time())
            if site.certificate is not None:
                site.certificate.reload_if_changed()

    async def _listen(self, site: _Site, connections: ConnectionLimit) -> asyncio.Server:
        tls_context = None if site.certificate is None else site.certificate.context
        scheme, handshake_timeout = ("http", None) if tls_context is None else ("https", _HANDSHAKE_TIMEOUT)
        while True:
            try:
                server = await self._loop.create_server(
                    connections.create_protocol,
                    site.host or None,
                    site.port,
                    ssl=tls_context,
                    ssl_handshake_timeout=handshake_timeout,
                    backlog=256,
                )
            except (OSError, UnicodeError) as error:  # the latter: a host that cannot be encoded as a name
                if site.name in self._untried:
                    _log_bind_failure(site, error)
                self._set_tried(site)
                await asyncio.sleep(BIND_RETRY_DELAY)
            else:
                self._bound_ports[site.name] = port = server.sockets[0].getsockname()[1]
                host = f"[{site.host}]" if ":" in site.host else site.host or "*"
                logger.info("the %s listens on %s://%s:%s", site.name, scheme, host, port)
                self._set_tried(site)
                return server

    def _set_tried(self, site: _Site) -> None:
        self._untried.discard(site.name)
        if not self._untried:
            self._all_tried.set()


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _log_bind_failure(site: _Site, error: OSError | UnicodeError) -> None:
    error_number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(error_number) if error_number else error
    message = "the %s cannot listen on %s port %s, and retries every %g s: %s"
    logger.error(message, site.name, site.host or "*", site.port, BIND_RETRY_DELAY, reason)


def start_server(
    config: ListenConfig, components: ApplicationComponents, authenticator: Authenticator | None = None
) -> Server:
    """Start serving on a thread of its own, and return at once.

    ``authenticator`` asks the cluster, for ``auth kubernetes``.

    Raises:
        SettingError: the certificates or the tokens are not valid, or ``authenticator`` is missing.
    """
    sites = []
    if config.port is not None:
        authorizer = create_authorizer(config, authenticator)
        cert, key = config.tls_cert, config.tls_key
        certificate = None if cert is None or key is None else Certificate(cert, key)

        def create_app() -> web.Application:
            return application(components, authorizer, config.allowed_hosts)

        sites.append(_Site(API_SITE_NAME, create_app, config.host, config.port, certificate))
    if config.probe_port is not None:
        sites.append(
            _Site(PROBE_SITE_NAME, lambda: probe_application(components), config.probe_host, config.probe_port)
        )
    server = Server(sites)
    server.start()
    return server


def create_authorizer(config: ListenConfig, authenticator: Authenticator | None = None) -> Authorizer:
    """Return the authorizer for ``config``; raises the errors of `start_server`."""
    match config.auth:
        case AuthMode.LOOPBACK:
            return LoopbackAuthorizer()
        case AuthMode.NONE:
            return AllowAllAuthorizer()
        case AuthMode.TOKEN:
            assert config.tokens is not None  # noqa: S101 - ListenConfig has checked it
            return BearerAuthorizer(TokenFile(config.tokens))
        case AuthMode.KUBERNETES:
            if authenticator is None:
                raise SettingError("auth kubernetes is for masterjob operator, which runs in a cluster")
            return BearerAuthorizer(authenticator, cache_ttl=TOKEN_REVIEW_TTL)
