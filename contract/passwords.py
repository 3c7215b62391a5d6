"""URLs without their passwords, for messages and logs."""

import re

_PASSWORD = re.compile(r"(://[^\s:/@]*):\S*@")


def without_passwords(text: str) -> str:
    """The same with *** for the password of each URL in it, which may have any character but a space."""
    return _PASSWORD.sub(r"\1:***@", text)
