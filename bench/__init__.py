"""Benchmarks: ``python -m bench`` for all, ``python -m bench NAME…`` for some.

    instance_process.py      one instance as a process: takes part in any number of locks and reports what happens
    world.py                 databases, instance processes, and waiting for what they report
    handover.py              from SIGTERM or kill -9 to the next start; from a switch to the stop or start
    crowd.py                 what many locks cost, how fast many are claimed, and how they spread
    heartbeat_under_load.py  heartbeats while the control API answers requests
    cluster.py               MasterJobs on a real API server; marking.py is the job there
    figures.py               distributions, the table, the JSON
    plots.py                 plots as SVG

Nothing here passes or fails: docs/benchmarks.md compares the figures with what was expected.
"""
