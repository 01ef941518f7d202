"""What the master runs.

In this room, all of it behind the port `masterjob.election.ports.Job`:

    named.py    jobs by name, from the config file (``fields.py``) and installed packages (``entries.py``)
    python.py   a Python callable, the course of one run of it (``run.py``), and where the user's functions are
                called (``places.py``): on threads (``crew.py``) or an event loop (``loops.py``)
    exec.py     a command, the course of one run of it (``commandrun.py``), what it writes (``output.py``), and the
                process of its own that ends it in time (``keeper.py``), started and told by us (``leash.py``,
                ``feeder.py``)
    http.py     two hooks of a service, and one POST that can be broken off (``exchange.py``)

What must not be here: who is master and why, SQL, where settings come from. A job is told to start and to stop,
and reports how that went; it decides nothing else, and holds up no thread of the election.
"""
