"""Who is in the tables: the systems by group, their names for people, and what the paper says of its own."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from training.results import Row


@dataclass(frozen=True)
class Group:
    """Systems that stand together in a table: labels by the system's name. `dim` says whether they have dimensions."""

    title: str
    systems: dict[str, str]
    dim: bool = True


CEILINGS = Group(
    "Ceilings: these know the made network's truth",
    {
        "bayes": "Bayes",
        "content only": "Content only",
        "uniform attention": "Uniform attention",
        "ceiling personal only": "Personal facet only",
        "ceiling social only": "Social facet only",
    },
    dim=False,
)
BASELINES = Group(
    "Baselines of the paper",
    {
        "rrfm": "RRFM",
        "vbpr": "VBPR",
        "adabpr": "ADABPR",
        "famf": "FAMF",
        "famf visual": "FAMF-visual",
        "citing": "CITING",
    },
)
PAPER_AMNL = Group(
    "AMNL as the paper has it: its link, loss and attention",
    {"amnl d product": "AMNL_d (product)", "amnl i product": "AMNL_i (product)", "amnl product": "AMNL (product)"},
)
AMNL = Group("AMNL as this project trains it", {"amnl d": "AMNL_d", "amnl i": "AMNL_i", "amnl": "AMNL"})
VARIANTS = Group(
    "Parts and variants of AMNL",
    {
        "personal only": "Personal facet alone",
        "social only": "Social facet alone",
        "similar attention": "Attention by similarity",
        "paper attention": "The paper's attention",
        "softplus": "Softplus link",
    },
)
PLACEBOS = Group(
    "Placebos: AMNL where something that it reads tells nothing",
    {
        "permuted pictures": "Permuted pictures",
        "permuted words": "Permuted words",
        "rewired follows": "Rewired follows",
        "pictures permuted in test": "Pictures permuted in the test",
        "words permuted in test": "Words permuted in the test",
        "follows rewired in test": "Follows rewired in the test",
    },
)
SINGLE_FACETS = ("personal only", "social only")
TOLD_IN_TEST = {
    "permuted pictures": "pictures permuted in test",
    "permuted words": "words permuted in test",
    "rewired follows": "follows rewired in test",
}
"""Placebos, and the same in the test alone: these come with AMNL's runs and leave no word where they cannot be run."""
OTHERS = Group("Other systems", {})
GROUPS = (
    Group(
        "Without training",
        {"random": "Random", "popularity": "Popularity", "recency": "Recency", "followee count": "Followee count"},
        dim=False,
    ),
    BASELINES,
    Group("Anchors of today", {"ease": "EASE", "lightgcn": "LightGCN"}),
    PAPER_AMNL,
    AMNL,
    VARIANTS,
    PLACEBOS,
    OTHERS,
    CEILINGS,
)
_CEILING_WORDS = ("ceiling", "ceilings", "oracle", "truth")
NETWORKS = {"made": "Made network", "lastfm": "HetRec LastFM", "flickr": "Flickr likes"}

PAPER = {
    "AMNL": {"p@1": 0.8604, "p@3": 0.7659, "auc": 0.8244},
    "AMNL_i": {"p@1": 0.8039, "p@3": 0.7038, "auc": 0.7509},
    "AMNL_d": {"p@1": 0.7493, "p@3": 0.6749, "auc": 0.7233},
    "Best baseline": {"p@1": 0.7145, "p@3": 0.7391, "auc": 0.5254},
}
"""The paper's figures at 80 % training, on data that was never released."""


@dataclass(frozen=True)
class Placed:
    """Where a system stands: its group's place in GROUPS, its place there, and its label."""

    group: int
    place: int
    label: str


def plain(system: str) -> str:
    """A system's name without capitals and punctuation."""
    return re.sub(r"[^a-z0-9]+", " ", system.lower()).strip()


def placed(system: str) -> Placed:
    """Names that nobody foresaw are "other systems" under their own name; the word "ceiling" makes a name one."""
    words = plain(system).split()
    name = " ".join(word for word in words if word not in _CEILING_WORDS)
    known = list(CEILINGS.systems)
    if len(words) > len(name.split()):
        found = next((key for key in (name, f"ceiling {name}") if key in known), None)
        place = known.index(found) if found else len(known)
        return Placed(GROUPS.index(CEILINGS), place, CEILINGS.systems[found] if found else system)
    for number, group in enumerate(GROUPS):
        if name in group.systems:
            return Placed(number, list(group.systems).index(name), group.systems[name])
    return Placed(GROUPS.index(OTHERS), 0, system)


def name_of(network: str) -> str:
    """A network's name for people."""
    return NETWORKS.get(network, network)


def order(row: Row) -> tuple[int, int, str]:
    """Sorts rows as the tables have them."""
    at = placed(row.key.system)
    return at.group, at.place, at.label


def group_of(row: Row) -> Group:
    """The group that its system is in."""
    return GROUPS[placed(row.key.system).group]


def competes(row: Row) -> bool:
    """Whether it can be the best: not if it knows the truth, nor if it is a placebo."""
    return group_of(row) not in (CEILINGS, PLACEBOS)


def detail(row: Row) -> str:
    """Its dimension, where it has one."""
    has_one = group_of(row).dim and plain(row.key.system) != "ease" and row.key.dim > 0
    return f"d {row.key.dim}" if has_one else ""


def headline(rows: Iterable[Row]) -> list[Row]:
    """Rows at one dimension a system and network: the one run at the most splits, the larger one of equals.

    Never the one with the best metric: that would be a choice made on the test.
    """
    rows = list(rows)
    splits: dict[tuple[str, str, str], dict[int, int]] = {}
    for row in rows:
        of_dim = splits.setdefault((row.key.network, row.key.protocol, row.key.system), {})
        of_dim[row.key.dim] = of_dim.get(row.key.dim, 0) + 1
    main = {what: max(of_dim, key=lambda dim: (of_dim[dim], dim)) for what, of_dim in splits.items()}
    return sorted((row for row in rows if main[row.key[:2] + row.key[3:4]] == row.key.dim), key=order)
