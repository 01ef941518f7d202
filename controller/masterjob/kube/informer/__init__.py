"""The MasterJobs in scope, kept up to date whatever the watch misses.

    observed_resource.py  one MasterJob as last seen
    cache.py              all of them, by uid; older states never replace newer ones
    informer.py           delivers the changes of the cache to the controller and the status writer
    relist.py             the LIST: at the start, after every gap in the watch, and periodically
    kopf_watch.py         one run of kopf, which is the watch
    reflector.py          the threads of the LIST and the watch, which is restarted when it ends

What must not be here: what follows from a change; that is for those to whom it is delivered.
"""
