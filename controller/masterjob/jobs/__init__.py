"""What the master runs.

In this room, all of it behind the port `masterjob.election.ports.EffectJob`:

    registry.py   jobs by name, from the config file (fields.py) and installed packages (entries.py)
    python/    a Python callable
    command/   a command, and the process of its own that ends it in time
    http/      two hooks of a service
    run.py     what one run is, whatever the kind
    thread_pool.py    threads for whatever may take for ever

The three kinds are built alike: ``spec.py`` is the job as it is named, ``job.py`` that of one lock, behind the
port, ``run.py`` the course of one run.

What must not be here: who is master and why, SQL, where settings come from. A job is told to start and to stop,
and reports how that went; it decides nothing else, and holds up no thread of the election.
"""
