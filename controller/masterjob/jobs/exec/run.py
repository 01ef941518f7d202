"""One run of a command: from the start of its shim to the end of the command's last process.

A thread of the pool reads the shim's status until the shim ends, and reports what happens.
"""

import logging
import os
import signal

from masterjob.concurrency.clock import clock
from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.errors import MasterJobError
from masterjob.jobs.exec import trust_feed
from masterjob.jobs.exec.command import ExecCommand
from masterjob.jobs.exec.output import CommandOutput
from masterjob.jobs.exec.shim_client import ShimClient, kill_group
from masterjob.jobs.run import Run, RunState
from masterjob.log_fields import log_fields

logger = logging.getLogger("masterjob.jobs.exec")

STARTED_AFTER = 10.0
"""Seconds after which a running command counts as started."""

KILL_RESERVE = 0.1
"""Share of the stop timeout that is reserved for SIGKILL to take effect, and its maximum in seconds."""

LAST_LINE_TIMEOUT = 0.5
"""Seconds to wait for the last line of a command that has failed."""


class CommandFailed(MasterJobError):
    """The command could not be started, or did not end with exit code 0."""


class ExecRun(Run):
    """One run of a command."""

    def __init__(
        self, command: ExecCommand, pool: ThreadPool, term: LiveTerm, report: Report, stop_timeout: float
    ) -> None:
        super().__init__(term, report)
        self._command = command
        self._pool = pool
        self._grace_period = _compute_grace_period(stop_timeout)
        self._reported_started = False
        self._reported_failure = False
        self._trust_expired = False
        self._shim_client: ShimClient | None = None

    def begin(self) -> None:
        """Start the command from a thread of the pool."""
        self._pool.submit(self._supervise)

    def set_stop_timeout(self, stop_timeout: float) -> None:
        """Change how long a later stop may take, in seconds. A stop under way keeps its own timeout."""
        with self._lock:
            self._grace_period = _compute_grace_period(stop_timeout)
            if self._shim_client is not None and not self._stopping:
                self._shim_client.set_grace_period(self._grace_period)

    def _request_stop(self) -> None:
        if self._state is RunState.ENDED:
            self._finish()
        elif self._shim_client is not None:
            self._shim_client.stop(clock())

    # --- on a thread of the pool, as long as the command runs

    def _supervise(self) -> None:
        if not self._try_begin():
            return
        try:
            shim_client = ShimClient.launch(self._term.lock_name)
        except (OSError, ValueError) as error:
            self._report_failure(f"the shim of the command cannot be started: {error}", None)
            self._mark_ended()
            return
        output = CommandOutput(
            self._term.lock_name, shim_client.outputs, self._command.output_levels, self._term.number
        )
        self._pool.submit(output.run)
        try:
            self._run_command(shim_client, output)
        except Exception as error:
            name = self._term.lock_name
            logger.exception(
                "%s: the command cannot be supervised", name, extra=self._log_fields("command failed")
            )
            self._report_failure(f"the command cannot be supervised: {error}", None)
        finally:
            output.finish()
            self._mark_ended()

    def _run_command(self, shim_client: ShimClient, output: CommandOutput) -> None:
        """Send the launch request to the shim, and read its status until it ends."""
        shared_feed = trust_feed.shared_feed

        def send_trust() -> float:
            return shim_client.extend_trust(lambda: self._term.trust_left)

        try:
            self._start_command(shim_client)
            shared_feed.add(send_trust)
            all_gone = self._watch_status(shim_client, output)
        finally:
            shared_feed.remove(send_trust)
            with self._lock:
                self._shim_client = None
            shim_client.reap()
        if not all_gone:
            if shim_client.process_group is not None:
                kill_group(shim_client.process_group)
            self._report_failure("the shim of the command was killed", output)

    def _start_command(self, shim_client: ShimClient) -> None:
        now = clock()  # before the trust is read, as in `ShimClient.extend_trust`
        trust_left = self._term.trust_left
        if self._stopping:
            shim_client.disconnect()
        shim_client.start_command(self._command.launch_request(self._term, now, trust_left, self._grace_period))
        with self._lock:
            self._shim_client = shim_client
            shim_client.set_grace_period(self._grace_period)  # it may have changed meanwhile
            if self._stopping:  # meanwhile
                shim_client.stop(now)

    def _watch_status(self, shim_client: ShimClient, output: CommandOutput) -> bool:
        """Act on the shim's status lines. Return whether it has reported that no process is left."""
        started_at, status = clock() + STARTED_AFTER, ""
        while status != "gone":
            timeout = None if self._reported_started else max(0.0, started_at - clock())
            line = shim_client.read_status(timeout)
            if line is None:
                return False
            status = line
            self._handle_status(status.split(), shim_client, output)
        return True

    def _handle_status(self, status: list[str], shim_client: ShimClient, output: CommandOutput) -> None:
        match status:
            case []:  # the timeout: the command still runs
                self._report_started()
            case ["started", pid]:
                shim_client.process_group = int(pid)
            case ["running"]:
                self._log_running(shim_client)
            case ["unable", failed_part, error_number]:
                self._report_failure(self._describe_launch_error(failed_part, int(error_number)), None)
            case ["ended", exit_code]:
                self._handle_exit(int(exit_code), output)
            case ["overdue"]:
                self._trust_expired = True
                fields = self._log_fields("stopping", reason="the trust has ended")
                logger.warning(
                    "%s: the trust has ended; the command is stopped", self._term.lock_name, extra=fields
                )

    def _log_running(self, shim_client: ShimClient) -> None:
        logger.info(
            "%s: %s runs as process %s",
            self._term.lock_name,
            self._command.argv[0],
            shim_client.process_group,
            extra=self._log_fields("command started"),
        )

    def _log_fields(
        self, event: str, *, reason: str | None = None, exit_code: int | None = None
    ) -> dict[str, object]:
        term = self._term
        return log_fields(lock=term.lock_name, term=term.number, event=event, reason=reason, exit_code=exit_code)

    # --- reports

    def _report_started(self) -> None:
        with self._lock:
            if not self._reported_started and not self._stopping and not self._reported_failure:
                self._report.started()
            self._reported_started = True

    def _handle_exit(self, exit_code: int, output: CommandOutput) -> None:
        exit_description = f"exit code {exit_code}" if exit_code >= 0 else f"signal {_signal_name(-exit_code)}"
        fields = self._log_fields("command ended", exit_code=exit_code)
        if self._stopping or self._trust_expired:
            logger.info("%s: the command has ended with %s", self._term.lock_name, exit_description, extra=fields)
        elif exit_code == 0:
            logger.info("%s: the command is done; the lock is kept", self._term.lock_name, extra=fields)
            self._report_started()
        if self._trust_expired:
            late = "the shim got no new end of the trust in time, and has stopped the command"
            self._report_failure(f"{late}, which ended with {exit_description}", output)
        elif exit_code:
            self._report_failure(f"the command ended with {exit_description}", output)

    def _report_failure(self, reason: str, output: CommandOutput | None) -> None:
        """Report the first failure, unless the run is stopping or has lost its trust."""
        if output is not None and not self._stopping and output.drained.wait(LAST_LINE_TIMEOUT):
            reason += f"; last error line: {output.last_error_line[:500]}" if output.last_error_line else ""
        trusted = self._term.trust_left > 0
        with self._lock:
            if trusted and not self._stopping and not self._reported_failure:
                self._reported_failure = True
                self._report.start_failed(CommandFailed(reason))

    def _describe_launch_error(self, failed_part: str, error_number: int) -> str:
        name = self._command.argv[0] if failed_part == "command" else self._command.directory
        return f"{failed_part} {name} cannot be used: {os.strerror(error_number)}"

    def _mark_ended(self) -> None:
        with self._lock:
            if self._stopping:
                self._finish()
            else:
                self._state = RunState.ENDED


def _compute_grace_period(stop_timeout: float) -> float:
    """Return the seconds from SIGTERM to SIGKILL, which itself needs a part of the stop timeout."""
    return stop_timeout - min(KILL_RESERVE, stop_timeout * KILL_RESERVE)


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # a real-time signal
        return str(signum)
