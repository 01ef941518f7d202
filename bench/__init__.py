"""Benchmarks: ``python -m bench`` for all, ``python -m bench NAME…`` for some.

    instance_process.py  one instance, as a process: takes part in any number of locks, and tells what happens
    world.py       databases, members, and waiting for what they say
    handover.py    from SIGTERM or kill -9 to the next start; from a switch to the stop or start
    crowd.py       what many locks cost, how fast many are claimed, and how they spread
    figures.py     distributions, the table, the JSON
    plots.py       SVG, drawn by ourselves

Nothing here is judged: the figures are compared with what is expected in docs/benchmarks.md.
"""
