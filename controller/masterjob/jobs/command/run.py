"""One run of a command: from the start of its keeper to the end of all that the command was.

`supervise` stays on a thread of the crew for as long as the keeper is there, and reports what it hears from it.

Source: design sections 3 (rule 3) and 3.4.
"""

import logging
import os
import signal

from masterjob.election.clock import clock
from masterjob.election.errors import MasterJobError
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.jobs.command import feeder as feeders
from masterjob.jobs.command.command import Command
from masterjob.jobs.command.leash import Leash, end_group
from masterjob.jobs.command.output import Output
from masterjob.jobs.crew import Crew
from masterjob.jobs.run import Run, State

_log = logging.getLogger("masterjob.jobs.exec")

SETTLING = 10.0
"""Seconds that a command has to last to count as started."""

RESERVE = 0.1
"""Share of the stop timeout that is kept back for SIGKILL to take effect, and at most so many seconds."""

DRAINING = 0.5
"""Seconds that the last words of a command that failed are waited for."""


class CommandFailed(MasterJobError):
    """The command could not be started, or has ended in another way than with exit code 0."""


class CommandRun(Run):
    """One run of the command. `stop` may be called from any thread and never blocks."""

    def __init__(self, command: Command, stop_timeout: float, term: LiveTerm, report: Report) -> None:
        super().__init__(term, report)
        self._command = command
        self._patience = _patience(stop_timeout)
        self._started = False
        self._failed = False
        self._overdue = False
        self._leash: Leash | None = None

    def stop_within(self, seconds: float) -> None:
        """Have the command killed so long after it was asked to end; one that was asked has what it had."""
        with self._lock:
            self._patience = _patience(seconds)
            if self._leash is not None and not self._stopping:
                self._leash.be_patient(self._patience)

    def _stop(self) -> None:
        if self._state is State.ENDED:
            self._finish()
        elif self._leash is not None:
            self._leash.stop(clock())

    # --- on a thread of the crew, for as long as the command runs

    def supervise(self, crew: Crew) -> None:
        """Have the command run, and stay until nothing of it does."""
        if not self._may_begin():
            return
        try:
            leash = Leash.launch(self._term.lock_name)
        except (OSError, ValueError) as error:
            self._fail(f"the keeper of the command cannot be started: {error}", None)
            self._end()
            return
        output = Output(self._term.lock_name, leash.outputs)
        crew.run(output.run)
        try:
            self._watch(leash, output)
        except Exception as error:
            _log.exception("%s: the command cannot be watched", self._term.lock_name)
            self._fail(f"the command cannot be watched: {error}", None)
        finally:
            output.end()
            self._end()

    def _watch(self, leash: Leash, output: Output) -> None:
        """Give the keeper its order, and hear from it until it is gone."""
        feeder = feeders.feeder

        def feed() -> float:
            return leash.extend(lambda: self._term.trust_left)

        try:
            self._begin(leash)
            feeder.add(feed)
            gone = self._listen(leash, output)
        finally:
            feeder.remove(feed)
            with self._lock:
                self._leash = None
            leash.reap()
        if not gone:
            if leash.group is not None:
                end_group(leash.group)
            self._fail("the keeper of the command was killed", output)

    def _begin(self, leash: Leash) -> None:
        now = clock()  # before the trust is asked for, as in `Leash.extend`
        trust = self._term.trust_left
        if self._stopping:
            leash.let_go()
        leash.order(self._command.order(self._term, now, trust, self._patience))
        with self._lock:
            self._leash = leash
            leash.be_patient(self._patience)  # it may have changed meanwhile
            if self._stopping:  # meanwhile
                leash.stop(now)

    def _listen(self, leash: Leash, output: Output) -> bool:
        """Act on the keeper's news; return whether it has seen everything end."""
        settled_at, news = clock() + SETTLING, ""
        while news != "gone":
            timeout = None if self._started else max(0.0, settled_at - clock())
            heard = leash.next_news(timeout)
            if heard is None:
                return False
            news = heard
            self._heed(news.split(), leash, output)
        return True

    def _heed(self, news: list[str], leash: Leash, output: Output) -> None:
        match news:
            case []:  # nothing has happened for so long
                self._tell_started()
            case ["started", pid]:
                leash.group = int(pid)
                _log.info("%s: %s runs as process %s", self._term.lock_name, self._command.argv[0], pid)
            case ["unable", what, number]:
                self._fail(self._why_unable(what, int(number)), None)
            case ["ended", code]:
                self._ended(int(code), output)
            case ["overdue"]:
                self._overdue = True
                _log.warning("%s: the trust has ended, so does the command", self._term.lock_name)

    # --- how it went

    def _tell_started(self) -> None:
        with self._lock:
            if not self._started and not self._stopping and not self._failed:
                self._report.started()
            self._started = True

    def _ended(self, code: int, output: Output) -> None:
        how = f"exit code {code}" if code >= 0 else f"signal {_signal_name(-code)}"
        if self._stopping or self._overdue:
            _log.info("%s: the command has ended with %s", self._term.lock_name, how)
        elif code == 0:
            _log.info("%s: the command is done; the lock is kept", self._term.lock_name)
            self._tell_started()
        if code or self._overdue:
            why = "was not told in time that the trust goes on, and ended" if self._overdue else "ended"
            self._fail(f"the command {why} with {how}", output)

    def _fail(self, why: str, output: Output | None) -> None:
        """Report a failure once, unless the run has to end anyway."""
        if output is not None and not self._stopping and output.drained.wait(DRAINING):
            why += f"; it said last: {output.last_complaint[:500]}" if output.last_complaint else ""
        trusted = self._term.trust_left > 0
        with self._lock:
            if trusted and not self._stopping and not self._failed:
                self._failed = True
                self._report.start_failed(CommandFailed(why))

    def _why_unable(self, what: str, number: int) -> str:
        name = self._command.argv[0] if what == "command" else self._command.directory
        return f"{what} {name} cannot be used: {os.strerror(number)}"

    def _end(self) -> None:
        with self._lock:
            if self._stopping:
                self._finish()
            else:
                self._state = State.ENDED


def _patience(stop_timeout: float) -> float:
    """Return the seconds from SIGTERM to SIGKILL, which needs some of the stop timeout itself."""
    return stop_timeout - min(RESERVE, stop_timeout * RESERVE)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)
