"""What the master runs.

In this room, all of it behind the port `masterjob.election.ports.Job`:

    named.py   jobs by name, from the config file (fields.py) and installed packages (entries.py)
    python/    a Python callable
    command/   a command, and the process of its own that ends it in time
    http/      two hooks of a service
    crew.py    threads for whatever may take for ever

What must not be here: who is master and why, SQL, where settings come from. A job is told to start and to stop,
and reports how that went; it decides nothing else, and holds up no thread of the election.
"""
