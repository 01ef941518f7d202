"""What the MasterJobs say, whatever the watch misses.

    object.py   one of them as it was last seen
    informer.py     all of them as one level-based picture, of what cache.py keeps
    relist.py     the authoritative LIST: at the start, after every gap, and slowly for ever
    kopf_watch.py     one run of kopf, in a thread and a loop of its own; kopf_session.py is its way to the API
    server reflector.py    keeps the two going

What must not be here: what follows from a change; whoever is told of it decides that.

Source: design section 6.2.
"""
