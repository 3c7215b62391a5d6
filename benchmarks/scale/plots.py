"""The plots of docs/scale.md."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.scale.policies import Found, Point, Reader

_STYLES = ("x:", "o-", "s-", "^--", "v--", "D-")


def by_load(policies: Mapping[str, Mapping[str, Found]], limit_ms: float) -> Figure:
    """p99 by requests a second and replica, a panel a size."""
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    panels = figure.subplots(1, len(policies), sharey=True)
    for axes, (size, by_policy) in zip(panels, policies.items(), strict=True):
        for style, (name, found) in zip(_STYLES, by_policy.items(), strict=True):
            rates = [one.rate for one in found.points]
            p99 = [one.p99 for one in found.points]
            axes.errorbar(rates, p99, [one.within for one in found.points], fmt=style, markersize=4, label=name)
        axes.axhline(limit_ms, color="black", linewidth=0.8)
        shards = {found.shards for found in by_policy.values()}
        axes.set_title(f"{size} users, shards: {', '.join(map(str, shards))}")
        _scaled(axes, "requests/s a replica")
        axes.set_yscale("log")
    panels[0].set_ylabel("p99, ms")
    panels[0].annotate(f"{limit_ms:g} ms", (0.02, limit_ms), xycoords=("axes fraction", "data"), va="bottom")
    panels[0].legend(fontsize=8)
    return figure


def by_followees(found: Mapping[int, Mapping[int, Mapping[Reader, Point]]], limit_ms: float) -> Figure:
    """p99 of a request that holds nothing, by followees."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    for color, (entries, by_count) in zip(("tab:blue", "tab:orange"), found.items(), strict=True):
        for style, reader in (("o-", "read"), ("s--", "hybrid")):
            p99 = [readers[reader].p99 for readers in by_count.values()]  # type: ignore[index]
            label = f"{reader}, {entries} on each timeline"
            axes.loglog(list(by_count), p99, style, color=color, markersize=4, label=label)
    axes.axhline(limit_ms, color="black", linewidth=0.8)
    axes.annotate(f"{limit_ms:g} ms", (0.98, limit_ms), xycoords=("axes fraction", "data"), va="bottom", ha="right")
    axes.set_xlabel("followees")
    axes.set_ylabel("p99 of a request that holds nothing, ms")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    return figure


def by_threshold(found: Mapping[str, Sequence[tuple[float, float]]], limit_s: float) -> Figure:
    """p99 of seconds until a follower sees a post, by whose posts are pushed."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    for style, (size, points) in zip(_STYLES, found.items(), strict=False):
        belows, seconds = np.array(points).T
        axes.loglog(np.where(np.isfinite(belows), belows, 1e8), np.maximum(seconds, 1e-3), style, label=f"{size} users")
    axes.axhline(limit_s, color="black", linewidth=0.8)
    axes.annotate(f"{limit_s:g} s", (0.02, limit_s), xycoords=("axes fraction", "data"), va="bottom")
    axes.set_xticks([1e3, 1e4, 1e5, 1e6, 1e8], ["1,000", "10,000", "100,000", "1 M", "all"])
    axes.set_xlabel("authors with fewer followers are pushed")
    axes.set_ylabel("p99 until a post is seen, s")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _scaled(axes: object, label: str) -> None:
    axes.set_xlabel(label)  # type: ignore[attr-defined]
    axes.set_xlim(left=0)  # type: ignore[attr-defined]
    axes.grid(alpha=0.3, which="both")  # type: ignore[attr-defined]
