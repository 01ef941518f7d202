#!/bin/sh
# Mechanical mutants of election/core with mutmut, against the pure unit tests and then the simulation:
# mutmut.sh [FILE], such as "session".
# mutmut has an environment of its own, since it needs a copy in which the package is beside the tests.
set -eu
unset PYTHONPATH # else the tests would import the code of the repository instead of the mutants
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$root/.mutmut
mkdir -p "$work"
[ -x "$work/venv/bin/mutmut" ] || {
    "${PYTHON:-python3}" -m venv "$work/venv"
    "$work/venv/bin/python" -m pip install --quiet 'mutmut==3.8.1' pytest hypothesis
}
cd "$work"
rm -rf masterjob tests mutants # the results are those of the tests, which may have changed
cp -r "$root/controller/masterjob" .
: > masterjob/__init__.py # the API for applications needs SQLAlchemy, which the election does not
mkdir tests
cp -r "$root/tests/__init__.py" "$root/tests/timeouts.py" "$root/tests/election" "$root/tests/simulation" tests/
(cd tests/election && rm -f test_runner*.py test_watchdog.py test_observers.py) # these have real threads
cat > setup.cfg <<END
[mutmut]
source_paths=masterjob
only_mutate=masterjob/election/core/${1:-*}.py
pytest_add_cli_args_test_selection=tests/election
also_copy=tests
    pytest.ini
END
echo '[pytest]' > pytest.ini # else pytest takes the options of the repository, whose plug-ins are not here
venv/bin/mutmut run --max-children "$(nproc)"
cd mutants
PYTHONPATH=. ../venv/bin/python -m tests.simulation.mutants.mechanical
