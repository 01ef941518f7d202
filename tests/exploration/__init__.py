"""Small worlds, explored exhaustively: two or three instances of the real elector, one or two locks.

The simulation (`tests.simulation`) draws long stories at random. The exploration tries everything that can
happen, but only for a short time: every order of messages, and every way to place a few faults. It goes by
breadth, so what it finds is the shortest path to a violation. Worlds in which the same can happen are explored
once.

    world.py        a world at one moment
    states.py       the states of one process, each kept once
    process.py      one process: the real elector, its connections, its jobs
    database.py     the simulator's statements, whose claims and evictions are checked
    moves.py        what can happen next
    acts.py         what follows from it
    invariants.py   what must hold in every state
    fingerprint.py  what decides the future of a process, found by a walk over all its fields
    key.py          when two worlds are the same
    snapshots.py    copies of a process, with the continuations of its commands
    start.py        where an exploration begins
    search.py       the search by breadth
    story.py        a path, told in sentences
    sentences.py    the sentences
    chance.py, clocks.py    random numbers that are always the same; where the clocks begin
    bugs.py         planted bugs, each with the faults that reveal it
    __main__.py     ``make explore``

The random numbers of the elector are always the middle of their range, all clocks run at the same speed, and the
replica of a database is never promoted: those are for the simulation.
"""
