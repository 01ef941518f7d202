"""What a terminal sees: the command ``masterjob``.

    app.py       the commands by name, their exit codes, how errors are said
    options.py   the options that several commands share
    locks.py     list, status, history
    controls.py  enable, disable, step-down
    checks.py    validate, config, db upgrade
    staying/     run and operator, which stay until a signal comes
    render.py     tables for people, JSON for programs

Exit codes: 0 done; 1 refused, wrong, or not there; 2 mistyped; 3 the database did not answer.

What must not be here: anything that a program would want without a terminal.
"""
