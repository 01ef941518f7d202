"""What a terminal sees: the command ``masterjob``.

    app.py       the commands by name, their exit codes, how errors are said
    options.py   the options that several commands share
    run.py       the standalone controller: files in, elections out, until a signal comes
    locks.py     list, status, history, enable, disable, step-down
    checks.py    config, validate, db upgrade
    shown.py     tables for people, JSON for programs
    logs.py      the log as lines of text or of JSON

Exit codes: 0 done; 1 refused, wrong, or not there; 2 mistyped; 3 the database did not answer.

What must not be here: anything that a program would want without a terminal.
"""
