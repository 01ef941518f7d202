"""The authoritative LIST: at the start until it succeeds, after every gap in the watch, and slowly for ever.

A LIST that fails, or does not know the type, removes nothing: it is told once, and tried again.

What must not be here: the watch; what is done with resources.

Source: design section 6.2.
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from masterjob.election.clock import clock
from masterjob.kube.api.answers import ApiRefused, ApiUnavailable, DefinitionMissing
from masterjob.kube.api.client import GROUP, PLURAL, Api
from masterjob.kube.follow.mirror import Mirror

logger = logging.getLogger("masterjob")

MISSING = (
    f"the API server does not know {PLURAL}.{GROUP} yet: kubectl apply -f crds/masterjobs.yaml; "
    "they are followed as soon as it does"
)

_LONGEST = 60.0
"""Seconds that an API server may have us wait."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The namespaces whose MasterJobs are followed; none means those of the whole cluster."""

    namespaces: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str | None, ...]:
        """What each LIST is of."""
        return self.namespaces or (None,)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, in seconds."""

    held_back: float = 10.0
    """How long nothing is told while the first LIST does not succeed."""
    settle: float = 2.0
    """From a gap in the watch to the LIST that finds what vanished in it."""
    slow: float = 300.0
    """Between two LISTs when nothing happens."""
    hearing: float = 20.0
    """How long a watch may take until it is answered, while LISTs are."""
    telling: float = 60.0
    """How long the watch may take to tell what a LIST has found."""
    least_pause: float = 0.2
    most_pause: float = 5.0
    definition: float = 1.0
    """Between two questions whether the type is there."""


class Lister:
    """Asks for all there is, whenever it is due, in the thread that calls `run`.

    ``done`` is called after each LIST that was complete.
    """

    def __init__(self, api: Api, scope: Scope, mirror: Mirror, pace: Pace, done: Callable[[], None]) -> None:
        self.last_listed_at: float | None = None
        self.trouble: str | None = None
        self._api, self._scope, self._mirror, self._pace, self._done = api, scope, mirror, pace, done
        self._changed = threading.Condition()
        self._due = clock()
        self._slow_at = float("inf")
        self._failures = 0
        self._ready = False
        self._closed = False
        self._kind_of_trouble: object = None

    # --- what others ask

    def ask(self, within: float = 0.0) -> None:
        """Have a LIST begun in so many seconds at the latest."""
        with self._changed:
            self._due = min(self._due, clock() + within)
            self._changed.notify_all()

    def doubt(self) -> None:
        """Have it found out afresh whether a watch can begin."""
        with self._changed:
            self._ready = False
        self.ask()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until a watch can begin: all was listed, and the type is served; False if it was closed before."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._closed, timeout)
            return self._ready and not self._closed

    def close(self) -> None:
        """Begin nothing any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # --- the thread

    def run(self) -> None:
        """List until it is closed."""
        while self._wait_due():
            try:
                pause = self._attempt()
            except Exception:
                logger.exception("a defect while MasterJobs were listed; they are listed again")
                pause = self._pace.most_pause
            with self._changed:
                # What was asked for meanwhile hurries nobody whom the API server has just turned away.
                self._due = clock() + pause if self._failures else min(self._due, clock() + pause)

    def _wait_due(self) -> bool:
        with self._changed:
            while not self._closed and (wait := self._due - clock()) > 0:
                self._changed.wait(wait)
            self._due = float("inf")
            return not self._closed

    def _attempt(self) -> float:
        """List once, and return the seconds until it has to be done again, at the latest."""
        try:
            complete = self._list()
        except DefinitionMissing:
            return self._fail(DefinitionMissing, MISSING, self._pace.definition)
        except ApiRefused as error:
            return self._fail(error.status, str(error), self._backoff())
        except ApiUnavailable as error:
            words = f"MasterJobs cannot be listed at the moment, the election goes on: {error}"
            return self._fail(ApiUnavailable, words, max(self._backoff(), min(error.retry_after or 0.0, _LONGEST)))
        self._succeed()
        return max(0.0, self._slow_at - clock()) if complete else self._pace.most_pause

    def _list(self) -> bool:
        """List each part of the scope, also when another one cannot be; raises what was wrong with the first."""
        troubles: list[ApiRefused | ApiUnavailable] = []
        complete = True
        for part in self._scope.parts:
            if self._closed:
                raise ApiUnavailable("nobody waits for the rest of it")
            since = self._mirror.begin()
            try:
                bodies = self._api.list(part)
            except ApiRefused as error:
                troubles.append(ApiRefused(error.status, _forbidden(part, error)))
            except ApiUnavailable as error:
                troubles.append(error)
            else:
                complete &= self._mirror.listed(bodies, () if part is None else (part,), since)
        if troubles:
            raise troubles[0]
        if not self._ready and not self._api.served():
            raise DefinitionMissing(MISSING)
        return complete

    def _succeed(self) -> None:
        first = self._slow_at == float("inf")
        periodic = first or clock() >= self._slow_at
        if self._kind_of_trouble is not None:
            logger.info("MasterJobs are listed again")
        self._failures, self.trouble, self._kind_of_trouble = 0, None, None
        self.last_listed_at = clock()
        self._mirror.open()
        if periodic:
            self._mirror.repeat()
            self._slow_at = clock() + self._pace.slow * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
        with self._changed:
            self._ready = True
            self._changed.notify_all()
        self._done()

    def _fail(self, kind: object, words: str, pause: float) -> float:
        """Say once what is wrong."""
        self._failures += 1
        if kind != self._kind_of_trouble and not self._closed:
            logger.warning("%s", words)
        self.trouble, self._kind_of_trouble = words, kind
        return pause

    def _backoff(self) -> float:
        return min(self._pace.least_pause * 2.0 ** min(self._failures, 10), self._pace.most_pause)


def _forbidden(part: str | None, error: ApiRefused) -> str:
    where = "in the whole cluster" if part is None else f"in namespace {part}"
    needs = f": we need get, list and watch on {PLURAL}.{GROUP} there" if error.status == 403 else ""
    return f"MasterJobs {where} cannot be listed{needs} ({error})"
