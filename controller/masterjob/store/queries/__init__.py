"""The statements of the protocol, grouped by what they are about.

    sessions.py           sessions: open, renew, list, evict
    locks.py              locks: claim, move, release, request a step-down
    incarnations.py       the history of commits that the database is in, and the quarantine after a promotion
    inventory.py          what the sessions of one instance hold: a summary with every renewal, and in full
    switches.py           enable and disable, the only transaction
    declared_switches.py  the switches that resources declare
    forgetting.py         forget a lock that is not used any more
    history.py            one row for each transition
    names.py              the nearest name to one that was never used
    status.py             the state of the locks for people

What must not be here: when a statement is run, and what follows from its answer.
"""
