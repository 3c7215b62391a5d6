"""The table of figures in docs/model-card.md, from docs/reproduction/results.json."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.generate.markdown import Row, filled, table

_NETWORKS = {"made": "Made network", "lastfm": "HetRec LastFM", "flickr": "Flickr likes"}
_SYSTEMS = {
    "amnl": "AMNL, as this project trains it",
    "amnl (product)": "AMNL, as in the paper",
    "famf_visual": "FAMF-visual",
    "vbpr": "VBPR",
    "ease": "EASE",
    "lightgcn": "LightGCN",
    "popularity": "popularity",
    "random": "coin flips",
}
_METRICS = {"p_at_1": "P@1", "p_at_3": "P@3", "auc": "AUC"}
_ASKED = {"protocol": "primary", "split": 80}


def model_card(page: Path, results: Path) -> str:
    """The page with the figures as they are to be."""
    rows: list[dict[str, Any]] = json.loads(results.read_text("utf-8"))
    return filled(page, "figures", table(("Network", "System", *_METRICS.values(), "Users"), _figures(rows)))


def _figures(rows: list[dict[str, Any]]) -> Iterator[Row]:
    for network, name in _NETWORKS.items():
        for system, told in _SYSTEMS.items():
            asked = _ASKED | {"network": network, "system": system}
            for row in rows:
                if asked.items() <= row.items():
                    yield name, told, *(_estimate(row, metric) for metric in _METRICS), f"{row['users']:,}"


def _estimate(row: dict[str, Any], metric: str) -> str:
    mean, low, high = (f"{row[f'{metric}{end}']:.3f}".lstrip("0") for end in ("", "_low", "_high"))
    return f"{mean} ({low}–{high})"
