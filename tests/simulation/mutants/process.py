"""Planted bugs outside the core: threads, connections, watchdogs. The simulation imitates this code."""

from masterjob.concurrency import clock
from masterjob.election.core.commands import SessionCommand
from masterjob.election.core.elector import Elector
from masterjob.election.core.state import ElectorState
from masterjob.election.runner import ElectionRunner
from masterjob.election.term import LiveTerm
from masterjob.election.watchdog import ExitWatchdog, TrustWatchdog
from masterjob.election.workers import ConnectionWorker, ConnectionWorkers
from masterjob.jobs.exec import shim
from tests.simulation.mutants import rules
from tests.simulation.mutants.planting import Edit, Mutant

IMITATED = "the simulation imitates this code"

MUTANTS = (
    Mutant(
        "there is no deadline for jobs whose lost policy is exit",
        rules.EXIT,
        Edit(Elector, "exit_deadline", "return min(", "return NEVER or min("),
    ),
    Mutant(
        "heartbeats share the connection of all other commands",
        rules.HUNG_CALL,
        Edit(SessionCommand, "connection_name", "return self.connection.name", "return CONTROL_CONNECTION"),
    ),
    Mutant(
        "a command without an answer is not abandoned",
        rules.HUNG_CALL,
        Edit(ElectorState, "time_out_commands", "self.emit(Abandon(command))", "pass"),
    ),
    Mutant(
        "the elector's thread executes the statements itself",
        rules.HUNG_CALL,
        Edit(
            ConnectionWorkers,
            "submit",
            "worker.enqueue(command)",
            "self._on_outcome(_execute(command, worker._store))",
        ),
        unseen=IMITATED,
    ),
    Mutant(
        "the call of an abandoned command goes on",
        rules.HUNG_CALL,
        Edit(ConnectionWorker, "cancel", "self._store.abort()", "pass"),
        unseen=IMITATED,
    ),
    Mutant(
        "the watchdog does not know the end of the trust",
        rules.WATCHDOG,
        Edit(ElectionRunner, "_handle", "self._trust_watchdog.set_deadline(self._elector.next_expiry())", "pass"),
        unseen=IMITATED,
    ),
    Mutant(
        "the watchdog that ends the process is never armed",
        rules.EXIT,
        Edit(ElectionRunner, "_handle", "self._exit_watchdog.set_deadline(self._elector.exit_deadline())", "pass"),
        unseen=IMITATED,
    ),
    Mutant(
        "a job is told that its term is lost only when it is stopped",
        rules.RAISE_IF_LOST,
        Edit(LiveTerm, "trust_left", "max(0.0, self._trust_left())", "1.0"),
        unseen=IMITATED,
    ),
    Mutant(
        "the guard of a term checks nothing",
        rules.GUARD,
        Edit(LiveTerm, "guard", "self._fence(connection, self._term)", "pass"),
        unseen=IMITATED,
    ),
    Mutant(
        "the clock stops while the machine sleeps",
        rules.SLEEP,
        Edit(clock, "clock", "CLOCK_BOOTTIME", "CLOCK_MONOTONIC"),
        unseen=IMITATED,
        tests="tests/concurrency",
    ),
    Mutant(
        "the watchdog waits for its first deadline though an earlier one was set",
        rules.WATCHDOG,
        Edit(TrustWatchdog, "set_deadline", "self._condition.notify()", "pass"),
        unseen=IMITATED,
    ),
    Mutant(
        "of two instances in a process the last one sets the exit watchdog",
        rules.EXIT,
        Edit(ExitWatchdog, "set_deadline", "min(self._deadlines.values(), default=NEVER)", "deadline"),
        unseen=IMITATED,
    ),
    Mutant(
        "a shim lets its command run when the trust is over",
        rules.SHIM,
        Edit(shim, "__file__", "if not self.stopping and clock() >= self.trust_ends_at:", "if False:"),
        unseen=IMITATED,
        tests="tests/jobs/test_shim.py",
    ),
    Mutant(
        "a shim lets its command run when the controller has died",
        rules.SHIM,
        Edit(shim, "__file__", "self.stopping, self.kill_at = True, LONG_AGO", "pass"),
        unseen=IMITATED,
        tests="tests/jobs/test_shim.py",
    ),
    Mutant(
        "a shim waits for the whole stop timeout after the end of the trust, whenever it notices",
        rules.SHIM,
        Edit(shim, "__file__", "self.stop(self.trust_ends_at)", "self.stop(clock())"),
        Edit(shim, "__file__", "min(requested_at, self.trust_ends_at) + self.grace", "requested_at + self.grace"),
        unseen=IMITATED,
        tests="tests/jobs/test_shim.py",
    ),
)
