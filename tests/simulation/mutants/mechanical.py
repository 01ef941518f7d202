"""Mechanical mutants of the elector: gives those that the unit tests do not find to the simulation.

Runs in mutmut's copy of the code (see mutmut.sh), where ``MUTANT_UNDER_TEST`` names the mutant of this process.
``mechanical.md`` has a line for each mutant that neither finds, with the reason.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

from tests.simulation.mutants.search import violation
from tests.simulation.world import Weather

VARIABLE = "MUTANT_UNDER_TEST"
KILLED, SURVIVED, NOT_COVERED = 1, 0, 33
"""Exit codes of the unit tests, as mutmut stores them; all others are timeouts and crashes."""


def exit_codes(file: Path) -> dict[str, int]:
    """Return how the unit tests ended, by the name of the mutant."""
    codes: dict[str, int] = json.loads(file.read_text())["exit_code_by_key"]
    return codes


def find(name: str, seconds: float) -> str:
    """Return what the simulation finds within ``seconds`` of CPU time; an empty text if nothing."""
    os.environ[VARIABLE] = name
    started_at = time.process_time()
    for seed, weather in itertools.product(itertools.count(), Weather):
        if time.process_time() - started_at > seconds:
            return ""
        if text := violation(seed, weather):
            return f"{seed} {weather.value}: {text}"
    return ""


def change(name: str) -> str:
    """Return what the mutant changes, as ``old`` → ``new``."""
    diff = subprocess.run(
        [".mutmut/venv/bin/mutmut", "show", name], cwd="..", capture_output=True, text=True, check=False
    ).stdout
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    removed, added = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return f"`{removed}` → `{added}`"


def main() -> int:
    parser = argparse.ArgumentParser(prog="mechanical", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU seconds of simulation for each survivor")
    options = parser.parse_args()
    files = {
        file.name.split(".")[0]: exit_codes(file)
        for file in sorted(Path("masterjob/election/core").glob("*.meta"))
    }
    survivors = [
        name for codes in files.values() for name, code in codes.items() if code in (SURVIVED, NOT_COVERED)
    ]
    with multiprocessing.get_context("fork").Pool(maxtasksperchild=1) as pool:
        findings = dict(
            zip(survivors, pool.imap(partial(find, seconds=options.seconds), survivors, chunksize=1), strict=True)
        )
    print("| file | mutants | found by the unit tests | by the simulation | by neither |\n|---|---|---|---|---|")
    totals = Counter[str]()
    for file, codes in files.items():
        if codes:
            found = sum(bool(findings.get(name)) for name in codes)
            left = sum(findings.get(name) == "" for name in codes)
            totals.update(mutants=len(codes), found=found, left=left)
            print(f"| {file} | {len(codes)} | {len(codes) - found - left} | {found} | {left} |")
    tests = totals["mutants"] - totals["found"] - totals["left"]
    print(f"| all | {totals['mutants']} | {tests} | {totals['found']} | {totals['left']} |\n")
    for name in survivors:
        if not findings[name]:
            print(f"| {name.removeprefix('masterjob.election.core.')} | {change(name)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
