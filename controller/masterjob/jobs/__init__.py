"""What the master runs.

In this room: a Python callable run as a job (``python.py``), the course of one run of it (``run.py``), and
where the user's functions are called (``places.py``): on threads (``crew.py``) or an event loop
(``loops.py``) that are never the election's. Each job implements the port `masterjob.election.ports.Job`.

What must not be here: who is master and why, SQL, configuration. A job is told to start and to stop, and
reports how that went; it decides nothing else.
"""
