"""The exit of a Python process, however it comes: a callback that runs before it.

`atexit` is not enough. Before Python 3.13 a forked child of ``multiprocessing`` ends with ``os._exit``; so does
every child of ``billiard``, Celery's copy of it. Both run their own finalizers first. A worker process of Celery's
prefork pool runs not even those, but sends a signal of Celery.
"""

import atexit
import os
import sys
from collections.abc import Callable

_FINALIZER_MODULES = ("multiprocessing.util", "billiard.util")
_PRIORITY = 100
"""Finalizers with a high number run first: those of queues and pools have 10 and 15, and jobs may use these."""


class ProcessExit:
    """Calls ``callback`` when the process exits; it may be called twice."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback
        self._registered_at_exit = False
        self._finalizers: set[tuple[str, int]] = set()
        """The modules and the process that have a finalizer: a child drops those of its parent."""

    def register(self) -> None:
        """Register the callback in this process, if that was not done yet."""
        if not self._registered_at_exit:  # a forked child inherits it
            self._registered_at_exit = True
            atexit.register(self._callback)
        for name in _FINALIZER_MODULES:
            module, key = sys.modules.get(name), (name, os.getpid())
            if module is not None and key not in self._finalizers:
                self._finalizers.add(key)
                module.Finalize(None, self._callback, exitpriority=_PRIORITY)
        celery_signals = sys.modules.get("celery.signals")
        if celery_signals is not None:
            celery_signals.worker_process_shutdown.connect(
                self._on_celery_shutdown, weak=False, dispatch_uid="masterjob"
            )

    def _on_celery_shutdown(self, **_: object) -> None:
        self._callback()
