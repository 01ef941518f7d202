"""Plants every bug and writes what finds it to docs/mutants.md: ``python -m tests.simulation.mutants``.

The simulation gets all cores, and at most ``--seconds`` for each bug; then the tests get it, in processes of their
own. Seconds are CPU time of one process, so a busy machine makes the measurement longer and not different.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from tests.simulation.mutants import table
from tests.simulation.mutants.catalog import MUTANTS
from tests.simulation.mutants.search import simulate_with
from tests.simulation.mutants.tested import failing_test


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU seconds of each process, or 0")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--only", default="", help="only bugs whose row contains this")
    parser.add_argument("--no-tests", action="store_true", help="only the simulation")
    parser.add_argument("--table", type=Path, default=Path("docs/mutants.md"), help="where to write the table")
    options = parser.parse_args()
    rows = table.read(options.table)
    chosen = [each for each in MUTANTS if options.only in f"{each.rule.section} {each.sentence} {each.unseen}"]
    for mutant in chosen:
        old = rows.get(mutant.sentence, table.Row("not tried", "not tried"))
        is_tried = mutant.is_simulated and options.seconds > 0
        finding = simulate_with(mutant, options.seconds, options.processes) if is_tried else None
        text = table.describe(mutant, finding)
        rows[mutant.sentence] = replace(old, simulation=old.simulation if text == "not tried" else text)
        print(f"{text:50} {mutant.sentence}", flush=True)
        table.write(options.table, rows)
    if not options.no_tests:
        with ThreadPoolExecutor(options.processes) as pool:
            for mutant, test in zip(chosen, pool.map(failing_test, chosen), strict=True):
                rows[mutant.sentence] = replace(rows[mutant.sentence], test=f"`{test}`" if test else table.NONE)
                print(f"{test or table.NONE:50} {mutant.sentence}", flush=True)
                table.write(options.table, rows)
    print(table.summary(rows))
    sys.exit(1 if any(rows[mutant.sentence].survives for mutant in chosen) else 0)


if __name__ == "__main__":
    main()
