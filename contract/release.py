"""What is installed: the version stands in pyproject.toml alone."""

from importlib.metadata import version

NAME = "image-tweet-recommender"


def release() -> str:
    """The version that is installed."""
    return version(NAME)
