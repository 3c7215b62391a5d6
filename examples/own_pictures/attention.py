"""Whom a user's answer listens to: the followees' shares of the attention as bars, and what the user is recommended."""

import argparse
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

WIDTH = 40
"""Characters of the longest bar."""


def ask(url: str, user: str) -> dict[str, Any]:
    """The service's answer, explained. Raises URLError where it does not answer, or has another answer than 200."""
    path = f"/users/{urllib.parse.quote(user, safe='')}/recommendations?k=3&explain=true"
    with urllib.request.urlopen(url + path, timeout=10) as answer:  # noqa: S310 - the caller's own
        body: dict[str, Any] = json.load(answer)
    return body


def lines(answer: dict[str, Any]) -> Iterator[str]:
    """What to print."""
    shares = [(one["user_id"], one["share"]) for one in answer["followees"]]
    if not shares:
        yield f"{answer['user_id']}: no followee has a say (source {answer['source']})"
    else:
        yield f"{answer['user_id']} listens to"
    longest = max((share for _, share in shares), default=1)
    for user, share in shares:
        yield f"  {user:<12} {'#' * max(1, round(WIDTH * share / longest)):<{WIDTH}} {100 * share:5.1f} %"
    yield "and is recommended"
    for item in answer["items"]:
        yield f"  {item['tweet_id']:<12} by {item['author_id']}"


def main() -> int:
    """Print it; 1 where the service cannot be asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("user", help="a user's id, as u001")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the service is (default: %(default)s)")
    options = parser.parse_args()
    try:
        answer = ask(options.url, options.user)
    except urllib.error.HTTPError as error:
        print(f"error: {json.load(error)['detail']}", file=sys.stderr)
        return 1
    except urllib.error.URLError as error:
        print(f"error: {options.url} does not answer ({error.reason}): start `python -m service`", file=sys.stderr)
        return 1
    print("\n".join(lines(answer)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
