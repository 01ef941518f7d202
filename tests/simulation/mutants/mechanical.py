"""Mechanical mutants of the elector: gives those that the unit tests do not find to the simulation.

Runs in mutmut's copy of the code (see mutmut.sh), where ``MUTANT_UNDER_TEST`` names the mutant of this process.
`mechanical.md` has a line for each mutant that nothing can find, with the reason; these are not simulated. A
mutant that neither the tests nor the simulation find is an error if it has no line.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

from tests.simulation.mutants.search import violation, worlds

VARIABLE = "MUTANT_UNDER_TEST"
SURVIVED, NOT_COVERED = 0, 33
"""Exit codes of the unit tests, as mutmut stores them; others mean that a test failed, crashed or did not end."""

CORE = Path("masterjob/election/core")
EXPLANATIONS = Path(__file__).with_suffix(".md")


def exit_codes(file: Path) -> dict[str, int]:
    """Return how the unit tests ended, by the name of the mutant, for those that were tried."""
    codes: dict[str, int | None] = json.loads(file.read_text())["exit_code_by_key"]
    return {name: code for name, code in codes.items() if code is not None}


def find(name: str, seconds: float) -> str:
    """Return what the simulation finds within ``seconds`` of CPU time; an empty text if nothing."""
    started_at = time.process_time()
    for seed, weather in worlds(0, 1):
        if time.process_time() - started_at > seconds:
            return ""
        os.environ[VARIABLE] = name
        text = violation(seed, weather)
        os.environ[VARIABLE] = ""
        if text and not violation(seed, weather):
            return f"{seed} {weather.value}: {text}"
    return ""


def change(name: str) -> str:
    """Return the function of a mutant, and what it changes there, as two columns of a table."""
    mutmut = Path(sys.executable).with_name("mutmut")
    shown = subprocess.run([mutmut, "show", name], cwd="..", capture_output=True, text=True, check=True).stdout
    lines = [line for line in shown.splitlines() if not line.startswith(("---", "+++"))]
    old, new = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    function = (
        name.removeprefix("masterjob.election.core.").replace("xǁ", "").replace("ǁ", ".").replace(".x_", ".")
    )
    return f"{function.partition('__mutmut')[0]} | `{old}` → `{new}`".replace(" || ", " or ")


def main() -> int:
    parser = argparse.ArgumentParser(prog="mechanical", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU seconds of simulation for each survivor")
    options = parser.parse_args()
    files = {file.name.split(".")[0]: exit_codes(file) for file in sorted(CORE.glob("*.meta"))}
    codes_by_name = {name: code for codes in files.values() for name, code in codes.items()}
    rows = {name: change(name) for name, code in codes_by_name.items() if code in (SURVIVED, NOT_COVERED)}
    explanations = EXPLANATIONS.read_text()
    outcomes = {name: "explained" for name, row in rows.items() if row in explanations}
    unexplained = [name for name in rows if name not in outcomes]
    with multiprocessing.get_context("fork").Pool(maxtasksperchild=1) as pool:
        found = pool.map(partial(find, seconds=options.seconds), unexplained, chunksize=1)
    outcomes |= {name: "simulation" if text else "" for name, text in zip(unexplained, found, strict=True)}
    print_table(files, outcomes)
    left = [row for name, row in rows.items() if not outcomes[name]]
    for row in left:
        print(f"| {row} | |")
    return 1 if left else 0


def print_table(files: dict[str, dict[str, int]], outcomes: dict[str, str]) -> None:
    print("| file | mutants | found by the unit tests | by the simulation | explained | left |")
    print("|---|---|---|---|---|---|")
    totals = Counter[str]()
    for file, codes in files.items():
        counts = Counter(outcomes.get(name, "tests") for name in codes)
        if codes:
            print_line(file, counts)
        totals.update(counts)
    print_line("all", totals)


def print_line(file: str, counts: Counter[str]) -> None:
    columns = [counts.total(), *(counts[outcome] for outcome in ("tests", "simulation", "explained", ""))]
    print(f"| {file} | {' | '.join(map(str, columns))} |")


if __name__ == "__main__":
    sys.exit(main())
