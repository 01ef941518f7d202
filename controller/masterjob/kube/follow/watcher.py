"""Keeps the picture of the MasterJobs right: the LIST in one thread, kopf in another, begun again when it ends.

    the first LIST  ->  all is told, and the watch begins  ->  it ends, or does not hear  ->  LIST, watch again
    kopf starts from the beginning  ->  LIST, for what vanished where nobody heard it

What must not be here: what the resources mean.

Source: design section 6.2.
"""

import logging
import threading

from masterjob.election.clock import clock
from masterjob.kube.api.client import Api
from masterjob.kube.follow.lister import Lister, Pace, Scope
from masterjob.kube.follow.mirror import Mirror
from masterjob.kube.follow.stream import Stream

logger = logging.getLogger("masterjob")

_CUT_AFTER = 0.2


class Watcher:
    """Follows the MasterJobs in ``scope`` and has ``mirror`` show them, until it is stopped."""

    def __init__(self, api: Api, scope: Scope, mirror: Mirror, pace: Pace | None = None) -> None:
        self.restarts = 0
        """How often the watch had to begin again."""
        self._api, self._scope, self._mirror, self._pace = api, scope, mirror, pace or Pace()
        self._lister = Lister(api, scope, mirror, self._pace, self._judge)
        self._stream: Stream | None = None
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._lister.run, name="masterjob list", daemon=True),
            threading.Thread(target=self._follow, name="masterjob watch", daemon=True),
        ]

    @property
    def listed(self) -> bool:
        """Whether everything was listed once, so that nothing is missing in the picture."""
        return self._lister.last_listed_at is not None

    @property
    def last_listed_at(self) -> float | None:
        """When everything was listed last, by the local clock."""
        return self._lister.last_listed_at

    @property
    def hears(self) -> bool:
        """Whether the watch has begun, in every namespace."""
        return self._stream is not None and self._stream.hears

    @property
    def trouble(self) -> str | None:
        """Why MasterJobs cannot be listed at the moment, in a sentence; None where they can."""
        return self._lister.trouble

    @property
    def alive(self) -> bool:
        """Whether its threads go on."""
        return all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Begin to follow."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 2.0) -> bool:
        """Follow no more; False if that takes longer. What is waited for is cut off, but for connecting itself."""
        until = clock() + timeout
        self._stopping.set()
        self._lister.close()
        if (stream := self._stream) is not None:
            stream.cancel()
        while any(thread.is_alive() for thread in self._threads) and clock() < until:
            for thread in self._threads:
                thread.join(max(0.0, min(_CUT_AFTER, until - clock())))
                if thread.is_alive() and thread.ident is not None:
                    self._api.cut(thread.ident)
        return not any(thread.is_alive() for thread in self._threads)

    def _follow(self) -> None:
        if not self._lister.wait_ready(self._pace.held_back) and not self._stopping.is_set():
            logger.warning(
                "no LIST of MasterJobs for %g s: what is known is done, others follow", self._pace.held_back
            )
            self._mirror.open()
        pause = self._pace.least_pause
        while self._lister.wait_ready():
            age = self._watch()
            if self._stopping.is_set():
                return
            self.restarts += 1
            self._lister.doubt()
            pause = self._pace.least_pause if age > self._pace.telling else min(2 * pause, self._pace.most_pause)
            self._stopping.wait(pause)

    def _watch(self) -> float:
        """Watch until that ends, and return how many seconds it took."""
        stream = Stream(self._api.access, self._scope.namespaces, self._mirror.seen, self._begun)
        self._stream = stream
        if self._stopping.is_set():  # perhaps between the two, and so not cancelled
            return 0.0
        self._lister.ask(self._pace.hearing)
        why = stream.run()
        self._stream = None
        if not self._stopping.is_set():
            logger.warning("the watch of MasterJobs has ended and begins again: %s", why)
        return stream.age

    def _begun(self) -> None:
        """Kopf starts from the beginning: what has vanished meanwhile it will never tell."""
        self._lister.ask(self._pace.settle)

    def _judge(self) -> None:
        """LISTs are answered: end a watch that is not, or that does not tell what they have found."""
        stream = self._stream
        if stream is None:
            return
        deaf = not stream.hears and stream.age >= self._pace.hearing
        if deaf or (stream.age >= self._pace.telling and self._mirror.unheard(self._pace.telling)):
            logger.warning("the watch of MasterJobs tells nothing, although they can be listed")
            stream.cancel()
        elif not stream.hears or self._mirror.unheard(0.0):
            self._lister.ask(min(self._pace.hearing, self._pace.telling) + 1.0)
