"""What the status of a MasterJob says, a pure function of the facts, and the one thread that writes it.

    facts.py       all that a status is made of: the resource, the database, and what we do (doings.py)
    judgement.py   which conditions follow from that (conditions.py), each with one sentence
    projection.py  the whole status
    teller.py      of one resource: whether its status is for us to say, and the patch
    writer.py      of all of them: when to look at which (agenda.py)
    events.py      what happened, as Events, once each

What must not be here: whoever decides. A status that cannot be written changes nothing but what people see.

Source: design sections 6.1 and 6.3.
"""
