"""What the cluster sees: MasterJobs of the Kubernetes API, followed; and what is written back to them.

In this room, and nowhere else, are kopf and the official client.

    login.py     where the API server is, and who we are there
    api.py       asks it, on wires.py that can be cut; answers.py is what its answers mean
    observed.py  one MasterJob as it was last seen
    mirror.py    all of them as one level-based picture, of what knowledge.py keeps
    lister.py    the authoritative LIST: at the start, after every gap, and slowly for ever
    stream.py    one run of kopf, in a thread and a loop of its own; session.py is its way to the API server
    watcher.py   keeps the two going
    cluster.py   which cluster, and which namespaces of it

    facts.py     all that a status is made of: the resource, the database, and what we do (doings.py)
    judgement.py which conditions follow from that (conditions.py), each with one sentence
    projection.py  the whole status, a pure function of the facts
    status.py    writes it where it differs, when it is time (agenda.py); events.py: what happened, once each

The watch feeds the controller and decides nothing; where the API server is silent the election goes on.

What must not be here: who is master, SQL, jobs, settings, HTTP that people see.

Source: design sections 6.2 and 6.3.
"""
