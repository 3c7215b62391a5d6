"""What no log may have: keys of the service, and passwords in URLs."""

import logging
import re
from pathlib import Path

SECRETS = re.compile(
    r"itr_[0-9a-f]{8}_[\w-]{20,}"  # a key (service/keys.py)
    r"|Bearer [\w.~+/=-]{4,}"
    r"|\b[a-z][a-z0-9+.-]*://[^\s:/@]*:(?!\*\*\*@)[^\s@]+@",  # a password in a URL; *** is how it is shown
    re.IGNORECASE,
)


class NoSecrets(logging.Handler):
    """Takes every line that is logged in this process; `found` are those with a secret, by where they come from."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{self.format(record)} {vars(record)}"  # what is logged beside the words is a field of the JSON line
        if SECRETS.search(text):
            self.found.append(f"{record.name}: {shown(text)}")


def no_secrets_in(log: Path) -> None:
    """Of a process."""
    found = [shown(line) for line in log.read_text("utf-8", "replace").splitlines() if SECRETS.search(line)]
    assert not found, f"{log} has secrets: {found}"


def shown(text: str) -> str:
    """Without the secret itself."""
    return SECRETS.sub("[secret]", text)[:300]
