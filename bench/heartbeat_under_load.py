"""A master's heartbeats while its control API answers a thousand requests per second, and without load.

The master, the load generator and the database share this machine. So heartbeats are also measured while another
instance gets the same load: that cost is the machine's. Any further cost with load on the master itself is the
process's, whose threads share one interpreter. The cases alternate, because other load on the machine varies.

A heartbeat is measured as in the election: from the decision to send it until its answer was handled.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

from bench.figures import Figure
from bench.world import Databases
from masterjob import MasterJob, start_api, start_master
from masterjob.election.core.actions import Abandon
from masterjob.election.core.commands import Renew
from masterjob.election.core.events import Failure, Reply
from masterjob.election.observers import Step
from masterjob.runtime.runtime import current_runtime

RATE = 1_000
SECONDS = 10
TURNS = 5
"""Number of parts into which the time of each case is divided."""
CONNECTIONS = 100
TIMINGS = 10
"""Number of locks with different timings, so also of sessions: each sends five heartbeats per second."""


def measure_heartbeats_under_load(databases: Databases, rounds: int) -> list[Figure]:
    """Measure all three cases on each database."""
    figures = []
    for kind in databases.KINDS:
        with (
            databases.environment(kind) as environment,
            MasterProcess(environment.url) as master,
            MasterProcess(environment.url) as other,
        ):
            figures += measure(kind, master, other, min(SECONDS, rounds) / TURNS)
        for figure in figures[-4:]:
            print(f"{figure.what}, {kind}: 99 % within {figure.quantile(0.99):.1f} ms of {len(figure.samples)}")
    return figures


def measure(kind: str, master: "MasterProcess", other: "MasterProcess", seconds: float) -> list[Figure]:
    """Measure the heartbeats of a master in turns: without load, with load on it, with load on another."""
    idle, under_load, other_under_load, request_durations = [], [], [], []
    with LoadGenerator(master.port) as load, LoadGenerator(other.port) as load_on_other:
        for _ in range(TURNS):
            idle += master.measure_heartbeats(lambda: time.sleep(seconds))
            under_load += master.measure_heartbeats(lambda: request_durations.extend(load.send_requests(seconds)))
            other_under_load += master.measure_heartbeats(lambda: load_on_other.send_requests(seconds))
    return [
        Figure("heartbeat, no load", kind, "ms", idle),
        Figure(f"heartbeat, {RATE} requests a second", kind, "ms", under_load),
        Figure(f"heartbeat, {RATE} requests a second to another instance", kind, "ms", other_under_load),
        Figure(f"request, {RATE} a second", kind, "ms", request_durations),
    ]


class ChildProcess:
    """One of the processes of this file, which answers each input line with one line."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.heartbeat_under_load", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.first_line = self._read_line()

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def request(self, line: str = "") -> Any:
        """Send a line and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return json.loads(self._read_line())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


class MasterProcess(ChildProcess):
    """A process that runs `serve`, and the heartbeats that it reports."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.port = int(self.first_line)

    def measure_heartbeats(self, workload: Callable[[], object]) -> list[float]:
        """Run the workload; return the durations of the heartbeats answered meanwhile, in milliseconds."""
        self.request()
        workload()
        answer = self.request()
        if answer["failed"]:
            print(f"{answer['failed']} heartbeats failed")
        return [float(each) for each in answer["beats"]]


class LoadGenerator(ChildProcess):
    """A process that runs `generate_load`; started early, so that its start disturbs no measurement."""

    def __init__(self, port: int) -> None:
        super().__init__("--load", str(port))

    def send_requests(self, seconds: float) -> list[float]:
        """Send requests at a steady rate; return their durations in milliseconds."""
        answer = self.request(str(seconds))
        if set(answer["answers"]) != {"200"}:
            print(f"answers: {answer['answers']}")
        return [float(each) for each in answer["took"]]


def serve(url: str) -> None:
    """Become master of some locks, serve the control API, and report heartbeats for each input line."""
    heartbeats: list[float] = []
    failed = 0

    def observe_step(step: Step) -> None:
        nonlocal failed
        match step.event:
            case Reply(Renew() as command):
                heartbeats.append(1000 * (step.time - command.sent))
            case Failure(Renew()):
                failed += 1
        failed += sum(isinstance(each, Abandon) and isinstance(each.command, Renew) for each in step.actions)

    current_runtime().add_observer(observe_step)
    api = start_api(port=0, database=url)
    api.wait_for_bind_attempt()
    for number in range(TIMINGS):
        start_master(
            lock_name=f"lock-{number}",
            master_job=MasterJob(lambda: None, lambda: None),
            database=url,
            init_delay=0,
            heartbeat_interval=f"{200 + number}ms",
            lease_duration="3s",
            stop_timeout="100ms",
        )
    time.sleep(1.0)
    print(api.port, flush=True)
    for _ in sys.stdin:
        print(json.dumps({"beats": heartbeats, "failed": failed}), flush=True)
        heartbeats, failed = [], 0


async def generate_load(port: int, seconds: float) -> dict[str, object]:
    """Send each request at its time on one of the connections, with little CPU time of its own."""
    paths = [f"/api/MasterLocks/lock-{number % TIMINGS}" for number in range(8)] + ["/healthz", "/metrics"]
    heads = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths]
    durations: list[float] = []
    answers: Counter[str] = Counter()
    started_at = time.monotonic()

    async def connection(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(first, int(RATE * seconds), CONNECTIONS):
            due = started_at + number / RATE
            await asyncio.sleep(due - time.monotonic())
            writer.write(heads[number % len(heads)])
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
            durations.append(1000 * (time.monotonic() - due))
            answers[head[9:12].decode()] += 1
        writer.close()

    await asyncio.gather(*(connection(first) for first in range(CONNECTIONS)))
    return {"took": durations, "answers": dict(answers)}


def main() -> None:
    """Run one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", action="store_true", help="generate load, for the seconds in each input line")
    parser.add_argument("target", help="the port, or without --load the database")
    options = parser.parse_args()
    if not options.load:
        serve(options.target)
        return
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(asyncio.run(generate_load(int(options.target), float(line)))), flush=True)


if __name__ == "__main__":
    main()
