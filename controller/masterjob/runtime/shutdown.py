"""How this process shuts down: one order, whatever the cause, and a bound on every wait.

The cause is SIGTERM, Ctrl-C, the exit of the interpreter, or `Operator.close`. The order:

    1. hooks before    the sources of resources stop, then the controller: nothing is started or changed any more
    2. the instances   every job stops, its lock is released, the session closes: another instance takes over;
                       then the last status of each job is written
    3. hooks after     the last statuses are written, then the control API closes

Hooks run in reverse order of registration, so what started last stops first. The bounds, in seconds:
"""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger("masterjob")

SOURCE_STOP_TIMEOUT = 2.0
"""For the thread that follows manifests or the cluster to end."""

CONTROLLER_STOP_TIMEOUT = 2.0
"""For the controller to finish what it is writing."""

RELEASE_TIMEOUT = 5.0
"""For the releases, on top of the stop timeout of the jobs."""

OBSERVER_TIMEOUT = 1.0
"""For the observers of the election to see its last steps."""

RUN_STATUS_TIMEOUT = 1.0
"""For the last status of the jobs to be written."""

STATUS_FLUSH_TIMEOUT = 3.0
"""For the last statuses and Events of MasterJobs."""

API_STOP_TIMEOUT = 5.0
"""For the control API to finish the requests under way.

The sum is 19 s on top of the longest stop timeout: 14 s until the statuses are written, then the control API. The
Helm chart gives a pod 15 s on top of it (`masterjob.grace` in charts/masterjob/templates/_helpers.tpl): enough for
everything but an API client that keeps its request open. Change that number with these.
"""

ShutdownHook = Callable[[], object]


class ShutdownSequence:
    """The three steps of a shutdown, and the hooks registered for the first and the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._before: list[ShutdownHook] = []
        self._after: list[ShutdownHook] = []

    def add(self, before: ShutdownHook | None, after: ShutdownHook | None) -> None:
        """Register a hook for the first step, for the last, or both."""
        with self._lock:
            self._before += [] if before is None else [before]
            self._after += [] if after is None else [after]

    def run(self, stop_instances: Callable[[], bool]) -> bool:
        """Run the three steps, each hook only once; return what ``stop_instances`` returns."""
        with self._lock:
            before, self._before = self._before, []
            after, self._after = self._after, []
        _run_hooks(before)
        all_stopped = stop_instances()
        _run_hooks(after)
        return all_stopped


def _run_hooks(hooks: list[ShutdownHook]) -> None:
    for hook in reversed(hooks):
        try:
            hook()
        except Exception:
            logger.exception("a shutdown hook failed; the shutdown goes on")
