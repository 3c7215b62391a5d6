"""What a user can be recommended, and where it comes from."""

from contract.graph import TIMELINE_LIMIT, OnlineGraph, TimelineEntry, UserView
from service.cursor import Page

MAX_CANDIDATES = 2_000
_FEWEST_ENTRIES = 5
_GRAVITY = 1.5
_HOURS_AT_FIRST = 2.0


async def followees_tweets(graph: OnlineGraph, view: UserView, page: Page) -> list[TimelineEntry]:
    """What followees posted or retweeted, newest first."""
    count = len(view.followee_ids)
    timelines = await graph.timelines(view.followee_ids, entries_per_followee(count)) if count else []
    return select_candidates([entry for timeline in timelines for entry in timeline], view, page)


def entries_per_followee(followees: int) -> int:
    """How much of each timeline is read: all of it for some, the newest few entries for who follows thousands."""
    return max(_FEWEST_ENTRIES, min(TIMELINE_LIMIT, 3 * MAX_CANDIDATES // followees))


async def recent_tweets(graph: OnlineGraph, view: UserView, page: Page) -> list[TimelineEntry]:
    """The newest tweets of the whole service; with scope=discover without those of followees."""
    known = set(view.followee_ids) if page.scope == "discover" else set()
    return select_candidates([entry for entry in await graph.recent() if entry.author_id not in known], view, page)


def select_candidates(entries: list[TimelineEntry], view: UserView, page: Page) -> list[TimelineEntry]:
    """Each tweet once, at its latest activity, newest first (then by id), at most MAX_CANDIDATES.

    The user's own tweets, retweeted and hidden ones, those that pages before had and those that came after the first
    page are left out.
    """
    latest: dict[str, TimelineEntry] = {}
    for entry in entries:
        if entry.author_id == page.user_id or entry.tweet_id in view.seen_tweet_ids:
            continue
        if page.source is not None and entry.at_ms > page.at_ms:
            continue
        known = latest.get(entry.tweet_id)
        if known is None or entry.at_ms > known.at_ms:
            latest[entry.tweet_id] = entry
    if page.shown:
        latest = {tweet_id: entry for tweet_id, entry in latest.items() if not page.has_shown(tweet_id)}
    newest_first = sorted(latest.values(), key=lambda entry: (-entry.at_ms, entry.tweet_id))
    return newest_first[:MAX_CANDIDATES]


def popularity(retweets: int, entry: TimelineEntry, at_ms: int) -> float:
    """Retweets over (hours since + 2)^1.5: a new tweet needs fewer than an old one."""
    hours = max(0.0, (at_ms - entry.at_ms) / 3_600_000)
    return float(retweets / (hours + _HOURS_AT_FIRST) ** _GRAVITY)
