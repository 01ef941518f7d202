"""What the MasterJobs say, whatever the watch misses.

    observed.py   one of them as it was last seen
    mirror.py     all of them as one level-based picture, of what knowledge.py keeps
    lister.py     the authoritative LIST: at the start, after every gap, and slowly for ever
    stream.py     one run of kopf, in a thread and a loop of its own; session.py is its way to the API server
    watcher.py    keeps the two going

What must not be here: what follows from a change; whoever is told of it decides that.

Source: design section 6.2.
"""
