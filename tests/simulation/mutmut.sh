#!/bin/sh
# Mechanical mutants of election/core with mutmut, against the pure unit tests: mutmut.sh [FILE], such as "session".
# mutmut has an environment of its own, since it needs a copy in which the package is beside the tests.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$root/.mutmut
mkdir -p "$work/tests/simulation" "$work/masterjob"
[ -x "$work/venv/bin/mutmut" ] || {
    "${PYTHON:-python3}" -m venv "$work/venv"
    "$work/venv/bin/python" -m pip install --quiet 'mutmut==3.8.1' pytest hypothesis
}
# Only what the election needs: the rest of the package would need its dependencies.
for each in election concurrency errors.py; do
    rm -rf "${work:?}/masterjob/$each"
    cp -r "$root/controller/masterjob/$each" "$work/masterjob/"
done
rm -rf "$work/tests/election"
cp -r "$root/tests/election" "$work/tests/"
cp "$root/tests/simulation/memory.py" "$work/tests/simulation/"
touch "$work/masterjob/__init__.py" "$work/tests/__init__.py" "$work/tests/simulation/__init__.py"
# What has real threads is not of the core.
(cd "$work/tests/election" && rm -f test_runner.py test_watchdog.py test_observers.py)
cat > "$work/setup.cfg" <<END
[mutmut]
source_paths=masterjob
only_mutate=masterjob/election/core/${1:-*}.py
pytest_add_cli_args_test_selection=tests/election
also_copy=tests
    pytest.ini
END
echo '[pytest]' > "$work/pytest.ini" # else pytest takes the options of the repository, whose plug-ins are not here
cd "$work"
venv/bin/mutmut run --max-children "$(nproc)"
venv/bin/mutmut results
