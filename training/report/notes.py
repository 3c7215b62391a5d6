"""What the page says in sentences of how its figures were made."""

from training.report.lineup import CEILINGS, GROUPS, name_of, plain
from training.results import Row

BACKBONES = {"vgg16": "VGG16", "efficientnet_lite0": "EfficientNet-Lite0", "tiny": "the tests' tiny backbone"}
PROTOCOLS = {
    "made": (
        "one global cut in time. A user's list is the tweets that followees showed after it; those that the user then "
        "retweeted belong on top."
    ),
    "lastfm": (
        "a cut in time for each user, and the last 20 % of the artists that a user tagged are for the test. A user's "
        "list is the artists that a friend tagged in training and the user had not; those that the user tagged later "
        "belong on top."
    ),
    "flickr": (
        "there are no times, so the split is the official one. A user's list is the images that a followee liked in "
        "training and the user had not; those that the user likes in the test part belong on top. The others on a list "
        "are drawn, at most twice as many as belong on top and ten more, so that precision, NDCG and MRR are higher "
        "than whole lists would give."
    ),
}
"""The primary protocol of each network."""


def backbone_note(backbones: set[str]) -> str:
    """Says where the figures are not VGG16's, as the paper's are."""
    others = [BACKBONES.get(name, name) for name in sorted(backbones - {"vgg16"})]
    if not others:
        return ""
    if "vgg16" in backbones:
        return f"Some runs have VGG16's features, others those of {' or '.join(others)}: they do not compare."
    features = " or ".join(f"{name}'s features" for name in others)
    return f"VGG16 was not used: {features} made these figures."


def protocol_note(network: str) -> str:
    """How a network's lists are made; nothing of one that nobody foresaw."""
    told = PROTOCOLS.get(network)
    return f"Primary protocol, {name_of(network)}: {told}" if told else ""


def cold_note(rows: list[Row]) -> str:
    """Says at which splits of a network nothing on the lists was retweeted in training; nothing where there is none."""
    seen = {row.key.split for row in rows if row.warm != 0}
    cold = [f"{split} %" for split in sorted({row.key.split for row in rows} - seen)]
    if not cold:
        return ""
    return (
        f"{name_of(rows[0].key.network)}, {listed(cold)} training: no tweet of the lists was retweeted in training, so "
        "that systems that know a tweet by its id alone can only guess there."
    )


def missing_note(rows: list[Row], unfit: set[str]) -> str:
    """Which of the project's systems have no rows, and which of those cannot have any on the network."""
    there = {plain(row.key.system) for row in rows}
    wanted = {name: label for group in GROUPS if group is not CEILINGS for name, label in group.systems.items()}
    missing = {name: label for name, label in wanted.items() if name not in there}
    not_run = [label for name, label in missing.items() if name not in unfit]
    not_for_it = [label for name, label in missing.items() if name in unfit]
    told = {"Not run here": not_run, "Not for this network": not_for_it}
    return " ".join(f"{what}: {', '.join(labels)}." for what, labels in told.items() if labels)


def listed(words: list[str]) -> str:
    """Words as "60 %, 70 % and 80 %"."""
    *before, last = words
    return f"{', '.join(before)} and {last}" if before else last
