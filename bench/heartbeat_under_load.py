"""A master's heartbeats while its control API answers a thousand requests a second, and while nobody asks it.

The master, whoever asks it, and the database share this machine. So the heartbeats are also measured while another
instance is asked the same: what that costs them is the machine's, and what comes on top when they are asked
themselves is the process's, whose threads share one interpreter. Both are done in turns, as the machine may have
more to do at one time than at another.

A heartbeat is measured where the election measures it: from the decision to send it until its answer was taken in.
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
from masterjob.election.machine.actions import Abandon
from masterjob.election.machine.commands import Renew
from masterjob.election.machine.events import Failure, Reply
from masterjob.election.observing import Seen
from masterjob.main import this_process

RATE = 1_000
SECONDS = 10
TURNS = 5
"""Into how many parts the time of each is cut."""
CONNECTIONS = 100
TIMINGS = 10
"""Locks of as many timings, and so sessions: each has its own heartbeats, five times a second."""


def load_on_heartbeats(databases: Databases, rounds: int) -> list[Figure]:
    """Measure all three, on each database."""
    figures = []
    for kind in databases.KINDS:
        with databases.world(kind) as world, Master(world.url) as master, Master(world.url) as other:
            figures += measure(kind, master, other, min(SECONDS, rounds) / TURNS)
        for figure in figures[-4:]:
            print(f"{figure.what}, {kind}: 99 % within {figure.quantile(0.99):.1f} ms of {len(figure.samples)}")
    return figures


def measure(kind: str, master: "Master", other: "Master", seconds: float) -> list[Figure]:
    """Measure the heartbeats of a master in turns: nobody is asked, it is asked itself, another one is."""
    quiet, asked_itself, asked_another, took = [], [], [], []
    with Asker(master.port) as asker, Asker(other.port) as asker_of_another:
        for _ in range(TURNS):
            quiet += master.beats(lambda: time.sleep(seconds))
            asked_itself += master.beats(lambda: took.extend(asker.ask(seconds)))
            asked_another += master.beats(lambda: asker_of_another.ask(seconds))
    return [
        Figure("heartbeat, nobody asks", kind, "ms", quiet),
        Figure(f"heartbeat, {RATE} requests a second", kind, "ms", asked_itself),
        Figure(f"heartbeat, {RATE} requests a second to another instance", kind, "ms", asked_another),
        Figure(f"request, {RATE} a second", kind, "ms", took),
    ]


class Process:
    """One of the processes of this file, which says a line for each that it is told."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.heartbeat_under_load", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.first = self._hear()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def tell(self, line: str = "") -> Any:
        """Say a line, and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return json.loads(self._hear())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


class Master(Process):
    """A process of `serve`, and the heartbeats that it tells."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.port = int(self.first)

    def beats(self, meanwhile: Callable[[], object]) -> list[float]:
        """Return how long each heartbeat took that was answered meanwhile, in milliseconds."""
        self.tell()
        meanwhile()
        told = self.tell()
        if told["failed"]:
            print(f"{told['failed']} heartbeats failed")
        return [float(each) for each in told["beats"]]


class Asker(Process):
    """A process of `ask`, at a steady rate; it is there before it is needed, so that its start costs nobody."""

    def __init__(self, port: int) -> None:
        super().__init__("--ask", str(port))

    def ask(self, seconds: float) -> list[float]:
        """Return how long each request took, in milliseconds."""
        told = self.tell(str(seconds))
        if set(told["answers"]) != {"200"}:
            print(f"answers: {told['answers']}")
        return [float(each) for each in told["took"]]


def serve(url: str) -> None:
    """Be master of some locks, serve the control API, and tell the heartbeats whenever a line comes."""
    beats: list[float] = []
    failed = 0

    def see(seen: Seen) -> None:
        nonlocal failed
        match seen.event:
            case Reply(Renew() as command):
                beats.append(1000 * (seen.at - command.sent))
            case Failure(Renew()):
                failed += 1
        failed += sum(isinstance(each, Abandon) and isinstance(each.command, Renew) for each in seen.actions)

    this_process().observe(see)
    api = start_api(port=0, database=url)
    api.wait_tried()
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
        print(json.dumps({"beats": beats, "failed": failed}), flush=True)
        beats, failed = [], 0


async def ask(port: int, seconds: float) -> dict[str, object]:
    """Send each request at its time on one of the connections; who asks should need little of the machine."""
    paths = [f"/api/MasterLocks/lock-{number % TIMINGS}" for number in range(8)] + ["/healthz", "/metrics"]
    heads = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths]
    took: list[float] = []
    answers: Counter[str] = Counter()
    began = time.monotonic()

    async def connection(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(first, int(RATE * seconds), CONNECTIONS):
            due = began + number / RATE
            await asyncio.sleep(due - time.monotonic())
            writer.write(heads[number % len(heads)])
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
            took.append(1000 * (time.monotonic() - due))
            answers[head[9:12].decode()] += 1
        writer.close()

    await asyncio.gather(*(connection(first) for first in range(CONNECTIONS)))
    return {"took": took, "answers": dict(answers)}


def main() -> None:
    """Be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ask", action="store_true", help="ask, for as many seconds as each line says")
    parser.add_argument("target", help="the port, or else the database")
    options = parser.parse_args()
    if not options.ask:
        serve(options.target)
        return
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(asyncio.run(ask(int(options.target), float(line)))), flush=True)


if __name__ == "__main__":
    main()
