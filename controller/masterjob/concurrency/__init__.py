"""Time and threads, without a word of the domain: the local clock, a work queue, a pool of threads.

What must not be here: anything else of ours.
"""
