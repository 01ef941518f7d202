"""Database URLs and names without passwords, for logs and errors."""

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote_plus

_SECRET_WORDS = ("pass", "pwd", "secret", "token")
_PASSWORD_WITHOUT_HOST = re.compile(r"^([^:/?\[]*):(?!\d+(?:[,/?]|$))[^/?]*")  # user:password, but no host
_MAX_NAME_LENGTH = 64
_SEPARATORS = re.compile(r"[@:/?#,&=\s]+")  # what a wrong reading of a URL may split a password at
_SHORTEST_PIECE = 4
STRUCK_OUT = "***"


def redact_url(url: str) -> str:
    """Return ``url`` with stars in place of every password.

    A password may contain characters that should have been percent-encoded. So everything from the first colon to
    the last @ is hidden: rather too much than too little.
    """
    scheme, scheme_separator, remainder = url.partition("://")
    credentials, at_sign, location = remainder.rpartition("@")
    user, colon, _ = credentials.partition(":")
    location = location if at_sign else _PASSWORD_WITHOUT_HOST.sub(r"\1:***", location)
    base, question_mark, query = (
        f"{scheme}{scheme_separator}{user}{colon and ':***'}{at_sign}{location}".partition("?")
    )
    return base + question_mark + "&".join(_redact_parameter(parameter) for parameter in query.split("&"))


def redact_name(name: str) -> str:
    """Return a name as errors may repeat it: if a key was forgotten, the name may be a database URL."""
    text = redact_url(name)[:_MAX_NAME_LENGTH]
    return text if text.isprintable() else repr(text)


def redact_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return a message of a driver with stars in place of every secret, however encoded, and of its pieces.

    A text that is part of a longer word is replaced only if it has four characters or more.
    """
    pieces: set[str] = set()
    for secret in secrets:
        pieces |= {secret, quote(secret, safe=""), quote_plus(secret)}
        pieces |= {piece for piece in _SEPARATORS.split(secret) if len(piece) >= _SHORTEST_PIECE}
    for piece in sorted(pieces, key=len, reverse=True):
        escaped = re.escape(piece)
        pattern = escaped if len(piece) >= _SHORTEST_PIECE else rf"(?<!\w){escaped}(?!\w)"
        text = re.sub(pattern, STRUCK_OUT, text)
    return text


def _redact_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    is_secret = any(word in unquote_plus(name).lower() for word in _SECRET_WORDS)
    return f"{name}{equals}{'***' if is_secret else value}"
