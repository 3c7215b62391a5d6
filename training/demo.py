"""Curl lines that show a made dataset at work: ask, post a picture that lies in it, ask again."""

import json
import shlex
from pathlib import Path

from training.errors import InputRejected


def curl_lines(folder: Path, url: str) -> tuple[str, str, str]:
    """Three lines to paste, for the user and the new picture that the planted truth finds the best match.

    Raises InputRejected where the folder is no made dataset.
    """
    path = folder / "new_tweets.jsonl"
    if not path.is_file():
        raise InputRejected(f"{path} is missing: make a dataset by `python -m training synthesize FOLDER`")
    with path.open("rb") as file:
        tweets = [json.loads(line) for line in file]
    tweet = next(tweet for tweet in tweets if tweet["kind"] == "matching")
    address = f"{url}/users/{tweet['user_id']}/recommendations"
    ask, ask_again = (f"curl -s {shlex.quote(f'{address}?k={k}')}" for k in (3, 20))
    post = (
        f"curl -s -F author_id={tweet['author_id']} -F text={shlex.quote(tweet['text'])} "
        f"-F image=@{shlex.quote(str(folder / tweet['image']))} {url}/tweets"
    )
    return ask, post, ask_again
