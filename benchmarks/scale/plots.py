"""The plots of docs/scale.md."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.scale.policies import Found, Reader

_STYLES = ("x:", "o-", "s-", "^--", "v--", "D-")


def by_load(policies: Mapping[str, Mapping[str, Found]], limit_ms: float) -> Figure:
    """p99 by requests a second and replica, a panel a size; what does not keep up has no point."""
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    panels = figure.subplots(1, len(policies), sharey=True)
    styles: dict[str, str] = {}
    for axes, (size, by_policy) in zip(panels, policies.items(), strict=True):
        for name, found in by_policy.items():
            style = styles.setdefault(name, _STYLES[len(styles) % len(_STYLES)])
            rates = [one.rate for one in found.points]
            axes.plot(rates, [one.p99 for one in found.points], style, markersize=4, label=name)
        axes.axhline(limit_ms, color="black", linewidth=0.8)
        shards = {found.shards for found in by_policy.values()}
        axes.set_title(f"{size} users, shards: {', '.join(map(str, shards))}")
        _scaled(axes, "requests/s a replica")
        axes.set_yscale("log")
    panels[0].set_ylabel("p99, ms")
    panels[0].annotate(f"{limit_ms:.1f} ms", (0.02, limit_ms), xycoords=("axes fraction", "data"), va="bottom")
    panels[-1].legend(fontsize=8)
    return figure


def by_followees(found: Mapping[int, Mapping[int, Mapping[Reader, float]]], limit_ms: float) -> Figure:
    """p99 of a request that holds nothing, by followees."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    for color, (entries, by_count) in zip(("tab:blue", "tab:orange"), found.items(), strict=True):
        for style, reader in (("o-", "read"), ("s--", "hybrid")):
            p99 = [readers[reader] for readers in by_count.values()]  # type: ignore[index]
            label = f"{reader}, {entries} on each timeline"
            axes.loglog(list(by_count), p99, style, color=color, markersize=4, label=label)
    axes.axhline(limit_ms, color="black", linewidth=0.8)
    axes.annotate(f"{limit_ms:.1f} ms", (0.98, limit_ms), xycoords=("axes fraction", "data"), va="bottom", ha="right")
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
