"""A master's heartbeats while its control API answers a thousand requests a second, and while nobody asks it.

The master, whoever asks it, and the database share this machine. A heartbeat is measured where the election
measures it: from the decision to send it until its answer was taken in.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

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
CONNECTIONS = 100
TIMINGS = 10
"""Locks of as many timings, and so sessions: each has its own heartbeats, five times a second."""


def load_on_heartbeats(databases: Databases, rounds: int) -> list[Figure]:
    """Measure both, on each database."""
    figures = []
    for kind in databases.KINDS:
        with databases.world(kind) as world, Master(world.url) as master:
            quiet = master.beats(lambda: time.sleep(min(SECONDS, rounds)))
            asked: list[float] = []
            loaded = master.beats(partial(load, master.port, min(SECONDS, rounds), asked))
        figures += [
            Figure("heartbeat, nobody asks", kind, "ms", quiet),
            Figure(f"heartbeat, {RATE} requests a second", kind, "ms", loaded),
            Figure(f"request, {RATE} a second", kind, "ms", asked),
        ]
        for figure in figures[-3:]:
            print(f"{figure.what}, {kind}: 99 % within {figure.quantile(0.99):.1f} ms of {len(figure.samples)}")
    return figures


class Master:
    """A process of `serve`, and the heartbeats that it tells."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.heartbeat_under_load", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.port = int(self._hear())

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def _ask(self) -> list[float]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told = json.loads(self._hear())
        if told["failed"]:
            print(f"{told['failed']} heartbeats failed")
        return [float(each) for each in told["beats"]]

    def beats(self, meanwhile: Callable[[], object]) -> list[float]:
        """Return how long each heartbeat took that was answered meanwhile, in milliseconds."""
        self._ask()
        meanwhile()
        return self._ask()

    def __enter__(self) -> "Master":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


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


def load(port: int, seconds: float, took: list[float]) -> None:
    """Ask from another process at a steady rate; ``took`` gets how long each request took, in milliseconds."""
    command = [sys.executable, "-m", "bench.heartbeat_under_load", "--load", str(seconds), str(port)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"answers: {told['answers']}, in {told['seconds']:.1f} s")
    took += told["took"]


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
    return {"took": took, "answers": dict(answers), "seconds": time.monotonic() - began}


def main() -> None:
    """Be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", type=float, help="ask the port for so many seconds")
    parser.add_argument("target", help="the port, or else the database")
    options = parser.parse_args()
    if options.load is None:
        serve(options.target)
    else:
        print(json.dumps(asyncio.run(ask(int(options.target), options.load))))


if __name__ == "__main__":
    main()
