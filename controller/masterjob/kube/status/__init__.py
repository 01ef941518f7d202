"""What the status of a MasterJob says, a pure function of the facts, and the one thread that writes it.

    inputs.py       all that a status is made of: the resource, the database, and what we do (job_tracker.py)
    evaluate.py   which conditions follow from that (conditions.py), each with one sentence
    build.py  the whole status
    reconciler.py      of one resource: whether its status is for us to say, and the patch
    writer.py      of all of them: when to look at which (workqueue.py)
    event_recorder.py      what happened, as Events, once each

What must not be here: whoever decides. A status that cannot be written changes nothing but what people see.

Source: design sections 6.1 and 6.3.
"""
