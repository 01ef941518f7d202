"""One execution of a command: from the start of its shim to the end of the command's last process."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import closing

from masterjob.concurrency.clock import clock
from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.term import LiveTerm
from masterjob.errors import MasterJobError
from masterjob.jobs.exec import trust_feed
from masterjob.jobs.exec.command import ExecCommand
from masterjob.jobs.exec.leftovers import CommandScope, end_orphans
from masterjob.jobs.exec.output import CommandOutput
from masterjob.jobs.exec.shim_client import ShimClient
from masterjob.jobs.lifecycle import Errored, Exited, RunEvent, StartTimePassed
from masterjob.jobs.policy import Restart, RunPolicy
from masterjob.log_fields import log_fields

logger = logging.getLogger("masterjob.jobs.exec")

LAST_LINE_TIMEOUT = 0.5
"""Seconds to wait for the last line of a command that has ended."""

_NEVER = float("inf")


class CommandFailed(MasterJobError):
    """The command could not be started, or did not end as it should."""


class Execution:
    """One execution. `run` blocks; the other methods may be called from any thread and do not block.

    ``on_event`` is called by `run` with what happens to the command, without any lock.
    """

    def __init__(
        self,
        command: ExecCommand,
        policy: RunPolicy,
        pool: ThreadPool,
        term: LiveTerm,
        on_event: Callable[[RunEvent], None],
    ) -> None:
        self._command = command
        self._policy = policy
        self._pool = pool
        self._term = term
        self._on_event = on_event
        self._lock = threading.Lock()
        self._grace_period = 0.0
        self._stopping = False
        self._shim_client: ShimClient | None = None
        self._launched_at = _NEVER
        self._trust_expired = False
        self._pending_exit: Exited | None = None

    def stop(self) -> None:
        """Stop the command, or do not start it."""
        with self._lock:
            self._stopping = True
            if self._shim_client is not None:
                self._shim_client.stop(clock())

    def set_grace_period(self, seconds: float) -> None:
        """Set the seconds from SIGTERM to SIGKILL. A stop under way keeps its own."""
        with self._lock:
            self._grace_period = seconds
            if self._shim_client is not None and not self._stopping:
                self._shim_client.set_grace_period(seconds)

    def run(self) -> None:
        """Execute the command; return when none of its processes runs."""
        try:
            shim_client = ShimClient.launch(self._term.lock_name)
        except (OSError, ValueError) as error:
            self._on_event(Errored(CommandFailed(f"the shim of the command cannot be started: {error}")))
            return
        output = CommandOutput(
            self._term.lock_name, shim_client.outputs, self._command.output_levels, self._term.number
        )
        self._pool.submit(output.run)
        try:
            with closing(CommandScope()) as scope:
                self._run_command(shim_client, output, scope)
        except Exception as error:
            fields = exec_fields(self._term, "command failed", reason=str(error))
            logger.exception("%s: the command cannot be supervised", self._term.lock_name, extra=fields)
            self._on_event(Errored(CommandFailed(f"the command cannot be supervised: {error}")))
        finally:
            output.finish()
        if self._pending_exit is not None:
            self._on_event(self._pending_exit)

    def _run_command(self, shim_client: ShimClient, output: CommandOutput, scope: CommandScope) -> None:
        """Send the launch request to the shim, and read its status until it ends."""
        shared_feed = trust_feed.shared_feed

        def send_trust() -> float:
            return shim_client.extend_trust(lambda: self._term.trust_left)

        try:
            end_orphans()  # while the shim starts
            self._start_command(shim_client, scope)
            shared_feed.add(send_trust)
            all_gone = self._watch_status(shim_client, output)
        finally:
            shared_feed.remove(send_trust)
            with self._lock:
                self._shim_client = None
            shim_client.reap()
        if not all_gone:
            scope.kill(shim_client.process_group)
            self._fail("the shim of the command was killed", output)

    def _start_command(self, shim_client: ShimClient, scope: CommandScope) -> None:
        now = clock()  # before the trust is read, as in `ShimClient.extend_trust`
        trust_left = self._term.trust_left
        if self._stopping:
            shim_client.disconnect()
        request = self._command.launch_request(self._term, now, trust_left, self._grace_period)
        shim_client.start_command(scope.apply(request))
        with self._lock:
            self._shim_client = shim_client
            shim_client.set_grace_period(self._grace_period)  # it may have changed meanwhile
            if self._stopping:  # meanwhile
                shim_client.stop(now)

    def _watch_status(self, shim_client: ShimClient, output: CommandOutput) -> bool:
        """Act on the shim's status lines. Return whether it has reported that no process is left."""
        start_time_ends_at, status = _NEVER, ""
        while status != "gone":
            timeout = None if start_time_ends_at == _NEVER else max(0.0, start_time_ends_at - clock())
            line = shim_client.read_status(timeout)
            if line is None:
                return False
            status = line
            if not status:  # the timeout
                start_time_ends_at = _NEVER
                self._on_event(StartTimePassed())
            elif status.startswith("started"):
                self._launched_at = clock()
                start_time_ends_at = self._launched_at + self._policy.start_seconds
            self._handle_status(status.split(), shim_client, output)
        return True

    def _handle_status(self, status: list[str], shim_client: ShimClient, output: CommandOutput) -> None:
        match status:
            case ["started", pid]:
                shim_client.process_group = int(pid)
            case ["running"]:
                self._log_running(shim_client)
            case ["unable", failed_part, error_number]:
                message = self._describe_launch_error(failed_part, int(error_number))
                self._on_event(Errored(CommandFailed(message)))
            case ["ended", exit_code]:
                self._handle_exit(int(exit_code), output)
            case ["overdue"]:
                self._trust_expired = True
                fields = exec_fields(self._term, "stopping", reason="the trust has ended")
                message = "%s: the trust has ended; the command is stopped"
                logger.warning(message, self._term.lock_name, extra=fields)

    def _log_running(self, shim_client: ShimClient) -> None:
        message, program = "%s: %s runs as process %s", self._command.argv[0]
        fields = exec_fields(self._term, "command started")
        logger.info(message, self._term.lock_name, program, shim_client.process_group, extra=fields)

    def _handle_exit(self, exit_code: int, output: CommandOutput) -> None:
        description = f"exit code {exit_code}" if exit_code >= 0 else f"signal {_signal_name(-exit_code)}"
        if self._stopping or self._trust_expired:
            fields = exec_fields(self._term, "command ended", exit_code=exit_code)
            logger.info("%s: the command has ended with %s", self._term.lock_name, description, extra=fields)
        if self._trust_expired:
            late = "the shim got no new end of the trust in time, and has stopped the command"
            self._fail(f"{late}, which ended with {description}", output)
            return
        lived = f" after {clock() - self._launched_at:.1f} s" if exit_code == 0 else ""
        error = CommandFailed(self._with_last_line(f"the command ended with {description}{lived}", output))
        exited = Exited(exit_code, error, output.tail)
        if exit_code == 0 and self._policy.restart is Restart.ALWAYS:
            # What it has left running belongs to it, and is not started beside a second time.
            self._pending_exit = exited
        else:
            self._on_event(exited)

    def _fail(self, reason: str, output: CommandOutput) -> None:
        self._on_event(Errored(CommandFailed(self._with_last_line(reason, output)), output.tail))

    def _with_last_line(self, reason: str, output: CommandOutput) -> str:
        if self._stopping or not output.drained.wait(LAST_LINE_TIMEOUT) or not output.last_error_line:
            return reason
        return f"{reason}; last error line: {output.last_error_line[:500]}"

    def _describe_launch_error(self, failed_part: str, error_number: int) -> str:
        name = self._command.argv[0] if failed_part == "command" else self._command.directory
        return f"{failed_part} {name} cannot be used: {os.strerror(error_number)}"


def exec_fields(
    term: LiveTerm, event: str, *, reason: str | None = None, exit_code: int | None = None
) -> dict[str, object]:
    """Return the fields of a log record about a command."""
    return log_fields(lock=term.lock_name, term=term.number, event=event, reason=reason, exit_code=exit_code)


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # a real-time signal
        return str(signum)
