"""Real faults on real processes, checked afterwards by code that took no part.

worker.py      one instance of an application: reports start, stop, and what it wrote under its term's guard
fixtures.py    starts workers, injects faults, and records what happened when
proxy.py       a network between one worker and PostgreSQL that can fail
server.py      a PostgreSQL that can be restarted, crashed and frozen
events.py      the event log: events, effects, and spans of time
checker.py     a pure function from an event log to violations; knows the guarantees, not the code
schedule.py    from a seed to a list of faults
random_run.py  carries out a schedule and reports the result
__main__.py    long random runs: python -m tests.faults --for 2h --seed 7
"""
