"""The statements of the protocol, by what they are about.

    sessions.py      who is alive: renew, look, evict
    locks.py         who holds what: claim, move, release
    inventory.py     what the sessions of one instance hold, in short with every renewal
    switches.py        disable and enable, the one transaction; declarations.py: those that resources say
    history.py       one row a transition
    status.py       the state of the locks as people see it

What must not be here: when any of it is done, and what follows from its answer.

Source: design sections 3.1 and 3.2.
"""
