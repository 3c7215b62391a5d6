"""Which followees carry the social facet: explain=true.

Shape suffixes: N followees with a vector, K tweets.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from contract.link import Link, social_parts
from contract.runtime import Ranking
from service.held import Held, People
from service.schemas import FolloweePart, FolloweeShare
from service.table import Ints

MOST_SHARES = 50
"""Followees whose shares an answer has, beside those who are named with a tweet."""
MOST_REASONS = 3
"""Followees that are named beside a tweet."""


def shares(people: People, ranking: Ranking | None, because: list[list[FolloweePart]]) -> list[FolloweeShare]:
    """The followees with the largest shares of the attention, and the reasons; nobody where the model did not rank."""
    if ranking is None:
        return []
    found = dict(largest(ranking.attention_N, people, MOST_SHARES))
    more = {one.user_id for of_tweet in because for one in of_tweet} - found.keys()
    ids = [people.view.followee_ids[place] for place in people.place_N]
    found |= {id_: share for id_, share in zip(ids, ranking.attention_N.tolist(), strict=True) if id_ in more}
    in_order = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    return [FolloweeShare(user_id=user_id, share=share) for user_id, share in in_order]


def reasons(row_K: Ints, people: People, ranking: Ranking | None, link: Link, held: Held) -> list[list[FolloweePart]]:
    """Of each of some tweets the followees with the largest parts of its social facet; nobody where there is none.

    `people` are to be those of now: vectors of followees are read here.
    """
    if ranking is None or link == "personal" or not len(row_K):
        return [[] for _ in row_K]
    followees_ND = held.users.vectors_RD[people.view.rows_M[1:][people.place_N]]
    parts_KN = social_parts(ranking.attention_N, followees_ND, held.tweets.vectors_RD[row_K])
    found = [largest(part_N, people, MOST_REASONS) for part_N in parts_KN]
    return [[FolloweePart(user_id=user_id, part=part) for user_id, part in of_tweet] for of_tweet in found]


def largest(value_N: npt.NDArray[Any], people: People, most: int) -> list[tuple[str, float]]:
    """Followees by a value, the largest first, then by id; one whose value is not finite is left out."""
    finite = np.isfinite(value_N).nonzero()[0]
    if len(finite) > most:
        least = np.partition(value_N[finite], -most)[-most]
        finite = finite[value_N[finite] >= least]
    ids = people.view.followee_ids
    named = [(ids[place], value) for place, value in zip(people.place_N[finite], value_N[finite].tolist(), strict=True)]
    return sorted(named, key=lambda one: (-one[1], one[0]))[:most]
