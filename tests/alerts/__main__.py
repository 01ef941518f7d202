"""Record the series of all scenarios: python -m tests.alerts."""

import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.alerts.controllers import Controllers
from tests.alerts.recording import ALERTS_DIRECTORY, INTERVAL, RULES_FILE, Scrape, to_test
from tests.alerts.scenarios import SCENARIOS, Scenario
from tests.faults.server import FaultyPostgreSQL

RECORDED_FILE = ALERTS_DIRECTORY / "masterjob.recorded.test.yaml"
_HEADER = f"""\
# Series of two real controllers, recorded by python -m tests.alerts. promtool test rules {RECORDED_FILE.name}
rule_files: [{RULES_FILE.name}]
evaluation_interval: {INTERVAL}s
tests:
"""
_CONCURRENT_SCENARIOS = 3


def record(server: FaultyPostgreSQL, scenario: Scenario) -> str:
    """Run one scenario; return its test."""
    with tempfile.TemporaryDirectory() as directory:
        controllers = Controllers(server, Path(directory), scenario.job)
        try:
            controllers.wait_until_running()
            scrapes = _scrape_until_the_end(controllers, scenario)
        finally:
            controllers.close()
    print(f"recorded: {scenario.name}", flush=True)
    return to_test(scenario.name, scrapes, scenario.expected)


def _scrape_until_the_end(controllers: Controllers, scenario: Scenario) -> list[Scrape]:
    began_at = time.monotonic()
    scrapes: list[Scrape] = []
    for second in range(0, scenario.duration, INTERVAL):
        threading.Event().wait(max(0.0, began_at + second - time.monotonic()))
        scrapes.append(controllers.scrape())
        if fault := scenario.faults.get(second):
            fault(controllers)
    return scrapes


def main() -> None:
    server = FaultyPostgreSQL()
    server.start()
    try:
        with ThreadPoolExecutor(_CONCURRENT_SCENARIOS) as pool:
            tests = list(pool.map(lambda scenario: record(server, scenario), SCENARIOS))
    finally:
        server.stop()
    RECORDED_FILE.write_text(_HEADER + "".join(tests))


if __name__ == "__main__":
    main()
