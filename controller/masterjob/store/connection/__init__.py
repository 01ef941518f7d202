"""How a statement reaches a database, and how whoever waits for it gets away.

    dialects.py  what differs between the databases, in one place
    connection.pya line that can be hung up on: opened when needed, dropped after any error
    physical.py  one physical connection, and the thread that opens it
    deadlines.py the one thread that aborts calls which take too long

What must not be here: any statement of the protocol.

Source: design section 3.2.
"""
