"""URLs without their passwords, for messages and logs."""

import re

_HIDDEN = (
    (re.compile(r"(://[^\s:/@]*):\S*@"), r"\1:***@"),
    (re.compile(r"(https?://)[^\s:/@]+@", re.IGNORECASE), r"\1***@"),
    (re.compile(r"([?&][^\s=&]*(?:password|secret|token|key)=)[^\s&]*", re.IGNORECASE), r"\1***"),
)
"""A password, which may have any character but a space; a name at HTTP, which is a token; what a query tells."""


def without_passwords(text: str) -> str:
    """The same with *** for the password and the tokens of each URL in it."""
    for secret, shown in _HIDDEN:
        text = secret.sub(shown, text)
    return text
