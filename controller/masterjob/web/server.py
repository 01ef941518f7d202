"""The thread on which the control API runs, with an event loop of its own, and the ports that it listens on.

A port that cannot be had is told in the log and tried again; nothing else of the process minds. What is wrong with
certificates or tokens is told at once, by an error: it would be wrong for ever.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
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
"""Seconds for which a cluster's answer about a token is believed."""

API_SITE_NAME, PROBE_SITE_NAME = "control API", "probe port"

BIND_RETRY_DELAY = 10.0
"""Seconds until a port that could not be had is tried again."""

_KEEPALIVE_TIMEOUT = 15.0
_HANDSHAKE_TIMEOUT = 10.0
_SWEEP_INTERVAL = 1.0


class _DebugLogAdapter(logging.LoggerAdapter[logging.Logger]):
    """What aiohttp says of requests that are none: whoever sends them must not fill the log."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        super().log(min(level, logging.DEBUG), msg, *args, **kwargs)


@dataclass(frozen=True, slots=True)
class _Site:
    """One port: what it is called in the log, what it serves, and where."""

    name: str
    create_app: Callable[[], web.Application]
    host: str
    port: int
    certificate: Certificate | None = None


class Server:
    """The control API of this process, running. Made by `start_server`; no method blocks but
    `wait_for_bind_attempt` and `close`.
    """

    def __init__(self, sites: Sequence[_Site]) -> None:
        self._sites = sites
        self._loop = asyncio.new_event_loop()
        self._shutdown_requested = asyncio.Event()
        self._bound_ports: dict[str, int] = {}
        self._all_tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name="masterjob api", daemon=True)

    @property
    def port(self) -> int | None:
        """The port of the control API, once it listens."""
        return self._bound_ports.get(API_SITE_NAME)

    @property
    def probe_port(self) -> int | None:
        """The port of the probes, once they can be asked."""
        return self._bound_ports.get(PROBE_SITE_NAME)

    def wait_for_bind_attempt(self, timeout: float) -> bool:
        """Wait until each port was tried once; False if that takes longer."""
        return self._all_tried.wait(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Listen no more and end what is under way, within so many seconds."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
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
            logger.exception("the control API has failed, and has ended; the election goes on")
        finally:
            self._all_tried.set()
            self._loop.close()

    async def _serve(self) -> None:
        tried_events = [asyncio.Event() for _ in self._sites]
        tasks = [
            asyncio.create_task(self._serve_site(*tried)) for tried in zip(self._sites, tried_events, strict=True)
        ]
        for each in tried_events:
            await each.wait()
        self._all_tried.set()
        await self._shutdown_requested.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        current_task = asyncio.current_task()
        # Such as a round of readers who are gone, or a connection that was just coming in.
        remaining_tasks = [task for task in asyncio.all_tasks() if task is not current_task]
        for task in remaining_tasks:
            task.cancel()
        await asyncio.gather(*remaining_tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what they closed is told of with the loop's next round

    async def _serve_site(self, site: _Site, tried: asyncio.Event) -> None:
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
            server = await self._listen(site, connections, tried)
            await self._sweep(site, connections)
        finally:
            if server is not None:
                server.close()
            await runner.cleanup()
            await connections.abort_all()

    async def _sweep(self, site: _Site, connections: ConnectionLimit) -> None:
        """Close who does not read, and show a renewed certificate; again and again, until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL)
            connections.abort_unread(self._loop.time())
            if site.certificate is not None:
                site.certificate.reload_if_changed()

    async def _listen(self, site: _Site, connections: ConnectionLimit, tried: asyncio.Event) -> asyncio.Server:
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
            except (OSError, UnicodeError) as error:  # the latter: a host that can be no name
                if not tried.is_set():
                    _log_bind_failure(site, error)
                tried.set()
                await asyncio.sleep(BIND_RETRY_DELAY)
            else:
                self._bound_ports[site.name] = port = server.sockets[0].getsockname()[1]
                host = f"[{site.host}]" if ":" in site.host else site.host or "*"
                logger.info("the %s listens on %s://%s:%s", site.name, scheme, host, port)
                tried.set()
                return server


def _log_bind_failure(site: _Site, error: OSError | UnicodeError) -> None:
    message = "the %s cannot listen on %s port %s, which is tried again: %s"
    error_number = error.errno if isinstance(error, OSError) else None
    logger.error(
        message, site.name, site.host or "*", site.port, os.strerror(error_number) if error_number else error
    )


def start_server(
    config: ListenConfig, components: ApplicationComponents, authenticator: Authenticator | None = None
) -> Server:
    """Serve what ``config`` says, on a thread of its own; returns at once.

    ``authenticator`` asks the cluster, for ``auth kubernetes``.

    Raises:
        SettingError: the certificates or the tokens cannot be used, or nobody was given to ask the cluster.
    """
    sites = [] if config.port is None else [_api_site(config, components, authenticator)]
    if config.probe_port is not None:
        sites.append(
            _Site(PROBE_SITE_NAME, lambda: probe_application(components), config.probe_host, config.probe_port)
        )
    server = Server(sites)
    server.start()
    return server


def _api_site(
    config: ListenConfig, components: ApplicationComponents, authenticator: Authenticator | None
) -> _Site:
    authorizer = create_authorizer(config, authenticator)
    cert, key = config.tls_cert, config.tls_key
    return _Site(
        API_SITE_NAME,
        lambda: application(components, authorizer, config.allowed_hosts),
        config.host,
        config.port or 0,
        None if cert is None or key is None else Certificate(cert, key),
    )


def create_authorizer(config: ListenConfig, authenticator: Authenticator | None = None) -> Authorizer:
    """Return who lets in, as ``config`` says; the errors are those of `start_server`."""
    match config.auth:
        case AuthMode.LOOPBACK:
            return LoopbackAuthorizer()
        case AuthMode.NONE:
            return AllowAllAuthorizer()
        case AuthMode.TOKEN:
            assert config.tokens is not None  # noqa: S101 - it was checked when it was made
            return BearerAuthorizer(TokenFile(config.tokens))
        case AuthMode.KUBERNETES:
            if authenticator is None:
                raise SettingError("auth kubernetes is for masterjob operator, which runs in a cluster")
            return BearerAuthorizer(authenticator, cache_ttl=TOKEN_REVIEW_TTL)
