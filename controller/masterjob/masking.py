"""Database URLs and names as people may see them: without a password, whatever was written in its place."""

import re
from urllib.parse import unquote_plus

_SECRETS = ("pass", "pwd", "secret", "token")
_NO_PORT = re.compile(r"^([^:/?\[]*):(?!\d+(?:[/?]|$))[^/?]*")  # user:password where the host was forgotten
_LONGEST = 64


def masked(url: str) -> str:
    """Return ``url`` with stars for the password, wherever a database URL may carry one.

    What should have been percent-encoded may stand in a password as it is, so all from the first colon to the
    last @ is taken for it: rather too much is hidden than a part of it shown.
    """
    scheme, mark, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    place = place if at else _NO_PORT.sub(r"\1:***", place)
    head, question, query = f"{scheme}{mark}{user}{colon and ':***'}{at}{place}".partition("?")
    return head + question + "&".join(_masked_field(each) for each in query.split("&"))


def echo(name: str) -> str:
    """Return a name as errors may repeat it: whoever forgot a key has perhaps written a URL in its place."""
    text = masked(name)[:_LONGEST]
    return text if text.isprintable() else repr(text)


def _masked_field(text: str) -> str:
    name, equals, value = text.partition("=")
    secret = any(word in unquote_plus(name).lower() for word in _SECRETS)
    return f"{name}{equals}{'***' if secret else value}"
