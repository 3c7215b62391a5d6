"""What a user can be recommended, and where it comes from.

Shape suffixes: E entries of timelines, C candidates, H hashes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contract.graph import TIMELINE_LIMIT, entries_per_followee
from service.cursor import Page
from service.held import NO_ENTRIES, Held, Selection, Timeline, View, among
from service.online import OnlineNetwork
from service.table import Ints

_DEEPER = 8
_GRAVITY = 1.5
_HOURS_AT_FIRST = 2.0
_MS_OF_AN_HOUR = 3_600_000


@dataclass(frozen=True)
class Bounds:
    """How many tweets a request may rank: of one followee's timeline, and in all."""

    per_followee: int
    in_all: int


async def followees_tweets(network: OnlineNetwork, held: Held, view: View, page: Page, bounds: Bounds) -> Timeline:
    """What followees posted or retweeted; what was chosen for a first page is kept until a part of it changes."""
    if not view.followee_ids:
        return NO_ENTRIES
    later = page.source is not None
    kept = held.selections.get(page.user_id)
    if not later and kept is not None and kept.holds(view, held.timelines):
        return kept.entries
    most = entries_per_followee(len(view.followee_ids), 3 * bounds.in_all, bounds.per_followee)
    depth = min(TIMELINE_LIMIT, _DEEPER * most) if later else most  # what came since must not hide what is to come
    timelines = await network.timelines(held, view.followee_ids, depth)
    parts = [timeline.entries for timeline in timelines]
    if later:
        parts = [entries[:, entries[1] <= page.at_ms] for entries in parts]
    chosen = select_candidates(
        np.concatenate([part[:, :most] for part in parts], axis=1), held, view, page, bounds.in_all
    )
    chosen = chosen[:, np.argsort(chosen[0])]  # vectors that lie together are read together
    if not later:
        selection = Selection(view, [timeline.serial for timeline in timelines], chosen)
        held.keep(held.selections, page.user_id, selection)
    return chosen


async def recent_tweets(network: OnlineNetwork, held: Held, view: View, page: Page, bounds: Bounds) -> Timeline:
    """The newest tweets of the whole service; with scope=discover without those of followees."""
    recent = await network.recent(held)
    if page.scope == "discover":
        recent = recent[:, ~np.isin(held.tweets.owner_R[recent[0]], view.rows_M[1:])]
    return select_candidates(recent, held, view, page, bounds.in_all)


def select_candidates(entries: Timeline, held: Held, view: View, page: Page, most: int) -> Timeline:
    """Each tweet once, at its latest activity, the newest `most` (then by id); in order of time, the newest last.

    The user's own tweets, retweeted and hidden ones, those that pages before had and those that came after the first
    page are left out.
    """
    tweets = held.tweets
    rows_E, at_E = entries
    hash_E = tweets.hash_R[rows_E]
    wanted_E = (tweets.owner_R[rows_E] != view.rows_M[0]) & ~among(hash_E, view.seen_H)
    if page.source is not None:
        wanted_E &= (at_E <= page.at_ms) & ~among(hash_E, page.shown_H)
    entries = entries[:, wanted_E]
    entries = entries[:, np.argsort(entries[1], kind="stable")]
    entries = entries[:, tweets.latest(entries[0])]
    return entries if entries.shape[1] <= most else _newest(entries, held.tweets.ids, most)


def popularity(retweets_C: npt.NDArray[np.int64], at_C: Ints, now_ms: int) -> npt.NDArray[np.float64]:
    """Retweets over (hours since + 2)^1.5: a new tweet needs fewer than an old one."""
    hours_C = np.maximum(0.0, (now_ms - at_C) / _MS_OF_AN_HOUR)
    return np.asarray(retweets_C / (hours_C + _HOURS_AT_FIRST) ** _GRAVITY)


def _newest(entries: Timeline, ids: list[str], most: int) -> Timeline:
    """The last ones of entries in order of time; of those as old as the oldest of them, the smaller ids."""
    oldest = entries[1, -most]
    newer = entries[:, entries[1] > oldest]
    as_old = entries[:, entries[1] == oldest]
    by_id = sorted(range(as_old.shape[1]), key=lambda c: ids[as_old[0, c]])
    return np.concatenate([as_old[:, by_id[: most - newer.shape[1]]], newer], axis=1)
