"""The command ``masterjob``.

    app.py          the commands by name, their exit codes, how errors are printed
    options.py      the options that several commands share
    api_options.py  the options of the control API
    locks.py        list, status, history
    controls.py     enable, disable, step-down
    housekeeping.py forget, prune
    checks.py       validate, config, db upgrade
    run.py          run: follows files until a signal arrives
    operator.py     operator: follows a cluster until a signal arrives
    bootstrap.py    what run and operator share
    log.py          the log of run and operator
    signals.py      the signals that end them
    render.py       tables for people, JSON for programs

Exit codes: 0 success; 1 refused, not valid or not found; 2 wrong usage; 3 the database did not answer.

What must not be here: anything that a program needs without a terminal.
"""
