"""Who is let in, and what every request passes.

    middleware.py         sizes, rates, hosts, origins, who it is and may; and how every error is said
    auth.py          who is let in without a token, and the cache before a reviewer that is slow
    tokens.py        the file of tokens
    certificates.py  the certificate that clients are shown; changes.py says when a file has to be read again
    rate_limit.py         how often something may happen

What must not be here: what any call does, how a cluster is asked (a port:
`masterjob.web.interfaces.Authenticator`).

Source: design section 6.5.
"""
