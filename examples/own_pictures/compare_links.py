"""Is the sum of the personal and the social facet better than their product? Trains both on the database and compares.

Neither is put into service. Options are those of `python -m training retrain`, the same for both.
"""

import json
import subprocess
import sys

LINKS = ("sum", "product")


def training(*arguments: str) -> str:
    """What a command of the trainer prints; progress is shown. Raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", "training", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def train(link: str, options: list[str]) -> str:
    """The new version; `--force`, since it may be worse than the one that serves, and is not to take its place."""
    version: str = json.loads(training("retrain", "--link", link, "--dry-run", "--force", "--json", *options))[
        "version"
    ]
    return version


def main() -> int:
    """Print the paired difference in AUC; the status of the command that failed, which said why."""
    try:
        versions = [train(link, sys.argv[1:]) for link in LINKS]
        found = training("models", "compare", *versions).strip()
    except subprocess.CalledProcessError as error:
        return error.returncode
    for link, version in zip(LINKS, versions, strict=True):
        print(f"{link:<8} {version}")
    print(f"{' beside '.join(LINKS)}, on retweets that neither was trained on:\n{found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
