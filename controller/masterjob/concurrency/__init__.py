"""Time and threads, without a word of the domain.

    clock.py        the local clock, which also runs while the machine sleeps
    backoff.py      how long to wait before the next attempt
    workqueue.py    names to work on, each by one thread at a time, with retries
    thread_pool.py  daemon threads that calls run on

What must not be here: anything else of this package but its errors.
"""
