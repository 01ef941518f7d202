"""Time and threads, without a word of the domain.

    clock.py        the local clock, which also runs while the machine sleeps; one that stops in a freeze; ages
    backoff.py      how long to wait before the next attempt
    workqueue.py    keys to work on, by worker threads with retries or in batches
    timers.py       calls after a delay
    thread_pool.py  daemon threads that calls run on

What must not be here: anything else of this package but its errors.
"""
