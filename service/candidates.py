"""What a user can be recommended: what followees posted or retweeted, newest first."""

from contract.graph import OnlineGraph, TimelineEntry, UserView
from service.schemas import Source

MAX_CANDIDATES = 2_000


async def find_candidates(graph: OnlineGraph, user_id: str, view: UserView) -> tuple[list[TimelineEntry], Source]:
    """Candidates and where they come from; the user's own and already retweeted tweets are left out.

    A user whose followees have nothing to offer gets the newest tweets of the whole service.
    """
    timelines = await graph.timelines(view.followee_ids) if view.followee_ids else []
    entries = select_candidates([entry for timeline in timelines for entry in timeline], user_id, view)
    if entries:
        return entries, "followees"
    return select_candidates(await graph.recent(), user_id, view), "recent"


def select_candidates(entries: list[TimelineEntry], user_id: str, view: UserView) -> list[TimelineEntry]:
    """Each tweet once, at its latest activity, newest first (then by id), at most MAX_CANDIDATES."""
    latest: dict[str, TimelineEntry] = {}
    for entry in entries:
        if entry.author_id == user_id or entry.tweet_id in view.seen_tweet_ids:
            continue
        known = latest.get(entry.tweet_id)
        if known is None or entry.at_ms > known.at_ms:
            latest[entry.tweet_id] = entry
    newest_first = sorted(latest.values(), key=lambda entry: (-entry.at_ms, entry.tweet_id))
    return newest_first[:MAX_CANDIDATES]
