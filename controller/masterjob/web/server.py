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

from masterjob.election.errors import SettingError
from masterjob.web.access.auth import Bearer, Doorman, Everybody, Loopback
from masterjob.web.access.certificates import Certificate
from masterjob.web.access.tokens import TokenFile
from masterjob.web.app import Parts, application, probes
from masterjob.web.doors import Doors
from masterjob.web.options import Auth, Listening
from masterjob.web.ports import Authenticator

logger = logging.getLogger("masterjob")

BELIEVED = 5.0
"""Seconds for which a cluster's answer about a token is believed."""

API, PROBES = "control API", "probe port"

AGAIN = 10.0
"""Seconds until a port that could not be had is tried again."""

_REQUEST_SECONDS = 15.0
_HANDSHAKE_SECONDS = 10.0
_SWEEP_SECONDS = 1.0


class _Quietly(logging.LoggerAdapter[logging.Logger]):
    """What aiohttp says of requests that are none: whoever sends them must not fill the log."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        super().log(min(level, logging.DEBUG), msg, *args, **kwargs)


@dataclass(frozen=True, slots=True)
class _Site:
    """One port: what it is called in the log, what it serves, and where."""

    name: str
    app: Callable[[], web.Application]
    host: str
    port: int
    certificate: Certificate | None = None


class Server:
    """The control API of this process, running. Made by `start`; no method blocks but `wait_tried` and `close`."""

    def __init__(self, sites: Sequence[_Site]) -> None:
        self._sites = sites
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._ports: dict[str, int] = {}
        self._tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name="masterjob api", daemon=True)

    @property
    def port(self) -> int | None:
        """The port of the control API, once it listens."""
        return self._ports.get(API)

    @property
    def probe_port(self) -> int | None:
        """The port of the probes, once they can be asked."""
        return self._ports.get(PROBES)

    def wait_tried(self, timeout: float) -> bool:
        """Wait until each port was tried once; False if that takes longer."""
        return self._tried.wait(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Listen no more and end what is under way, within so many seconds."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(timeout)

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            logger.exception("the control API has failed, and has ended; the election goes on")
        finally:
            self._tried.set()
            self._loop.close()

    async def _serve(self) -> None:
        first = [asyncio.Event() for _ in self._sites]
        tasks = [asyncio.create_task(self._keep(*each)) for each in zip(self._sites, first, strict=True)]
        for each in first:
            await each.wait()
        self._tried.set()
        await self._ending.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        here = asyncio.current_task()
        # Such as a round of readers who are gone, or a connection that was just coming in.
        rest = [task for task in asyncio.all_tasks() if task is not here]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0)  # what they closed is told of with the loop's next round

    async def _keep(self, site: _Site, tried: asyncio.Event) -> None:
        """Serve one port until cancelled."""
        runner = web.AppRunner(
            site.app(),
            access_log=None,
            handle_signals=False,
            keepalive_timeout=_REQUEST_SECONDS,
            shutdown_timeout=1.0,
            logger=_Quietly(logger),
        )
        await runner.setup()
        assert runner.server is not None  # noqa: S101 - for the type checker
        doors = Doors(runner.server)
        server: asyncio.Server | None = None
        try:
            server = await self._listen(site, doors, tried)
            await self._sweep(site, doors)
        finally:
            if server is not None:
                server.close()
            await runner.cleanup()
            await doors.clear()

    async def _sweep(self, site: _Site, doors: Doors) -> None:
        """Close who does not read, and show a renewed certificate; again and again, until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            doors.close_unread(self._loop.time())
            if site.certificate is not None:
                site.certificate.take_renewed()

    async def _listen(self, site: _Site, doors: Doors, tried: asyncio.Event) -> asyncio.Server:
        tls = None if site.certificate is None else site.certificate.context
        scheme, handshake = ("http", None) if tls is None else ("https", _HANDSHAKE_SECONDS)
        while True:
            try:
                server = await self._loop.create_server(
                    doors.enter,
                    site.host or None,
                    site.port,
                    ssl=tls,
                    ssl_handshake_timeout=handshake,
                    backlog=256,
                )
            except (OSError, UnicodeError) as error:  # the latter: a host that can be no name
                if not tried.is_set():
                    _tell_in_vain(site, error)
                tried.set()
                await asyncio.sleep(AGAIN)
            else:
                self._ports[site.name] = port = server.sockets[0].getsockname()[1]
                host = f"[{site.host}]" if ":" in site.host else site.host or "*"
                logger.info("the %s listens on %s://%s:%s", site.name, scheme, host, port)
                tried.set()
                return server


def _tell_in_vain(site: _Site, error: OSError | UnicodeError) -> None:
    words = "the %s cannot listen on %s port %s, which is tried again: %s"
    number = error.errno if isinstance(error, OSError) else None
    logger.error(words, site.name, site.host or "*", site.port, os.strerror(number) if number else error)


def start(listening: Listening, parts: Parts, authenticator: Authenticator | None = None) -> Server:
    """Serve what ``listening`` says, on a thread of its own; returns at once.

    ``authenticator`` asks the cluster, for ``auth kubernetes``.

    Raises:
        SettingError: the certificates or the tokens cannot be used, or nobody was given to ask the cluster.
    """
    sites = [] if listening.port is None else [_api(listening, parts, authenticator)]
    if listening.probe_port is not None:
        sites.append(_Site(PROBES, lambda: probes(parts), listening.probe_host, listening.probe_port))
    server = Server(sites)
    server.begin()
    return server


def _api(listening: Listening, parts: Parts, authenticator: Authenticator | None) -> _Site:
    door = doorman(listening, authenticator)
    cert, key = listening.tls_cert, listening.tls_key
    return _Site(
        API,
        lambda: application(parts, door, listening.allowed_hosts),
        listening.host,
        listening.port or 0,
        None if cert is None or key is None else Certificate(cert, key),
    )


def doorman(listening: Listening, authenticator: Authenticator | None = None) -> Doorman:
    """Return who lets in, as ``listening`` says; the errors are those of `start`."""
    match listening.auth:
        case Auth.LOOPBACK:
            return Loopback()
        case Auth.NONE:
            return Everybody()
        case Auth.TOKEN:
            assert listening.tokens is not None  # noqa: S101 - it was checked when it was made
            return Bearer(TokenFile(listening.tokens))
        case Auth.KUBERNETES:
            if authenticator is None:
                raise SettingError("auth kubernetes is for masterjob operator, which runs in a cluster")
            return Bearer(authenticator, seconds=BELIEVED)
