"""How the API server is asked: each request with a time limit, and an answer that is understood.

    config.py    where it is, and who we are there
    client.py   what is asked of it, on connections (cancel.py) that can be cut from another thread
    errors.py  what its answers mean: an error of ours each

What must not be here: what is done with the answers.

Source: design section 6.2.
"""
