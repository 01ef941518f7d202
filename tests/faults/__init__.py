"""Real faults on real processes, judged afterwards by somebody who took no part (design 7).

worker.py     one instance of an application: tells start, stop, and what it wrote under its term's guard
fixtures.py   starts workers, does things to them, and writes down what happened when
proxy.py      a network between one worker and PostgreSQL that can fail
server.py     a PostgreSQL that can be restarted, crashed and frozen
events.py     what happened, as values: events, effects, and spans of time
checker.py    a pure function from a story to violations; knows the promises, and nothing of the code
schedule.py   from a seed to a list of faults
__main__.py   long random runs: python -m tests.faults --for 2h --seed 7
"""
