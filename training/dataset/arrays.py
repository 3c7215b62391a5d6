"""A dataset folder as the arrays that training works on, without a database.

Shape suffix: X exposures.
"""

from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from contract.blobs import blob_key
from contract.graph import to_ms
from contract.progress import silent
from training.dataset.checks import Known
from training.dataset.folder import read_dataset, read_exposures
from training.dataset.rejects import Rejects
from training.dataset.rows import ExposureRow
from training.network import Exposures, Network, build_network, first_exposures


def network_of_folder(
    folder: Path, rejects: Rejects | None = None
) -> tuple[Network, Exposures | None, dict[str, Path]]:
    """The network, who was shown what where the folder says so, and the pictures' files by the key of their content.

    Pictures are hashed, not decoded. Bad rows are left out and collected in `rejects`; without it the first one raises
    InputRejected.
    Raises InputRejected where a table cannot be read as a whole, NotEnoughData where there are too few retweets.
    """
    rejects = rejects or Rejects(strict=True)
    nothing = Known()
    dataset = read_dataset(folder, nothing, rejects, blob_key, silent)
    network = build_network(
        (row.user_id for row in dataset.users.values()),
        (
            (row.tweet_id, row.author_id, row.text, dataset.image_keys[key], row.created_at)
            for key, row in dataset.tweets.items()
        ),
        ((row.follower_id, row.followee_id) for row in dataset.follows.values()),
        ((row.user_id, row.tweet_id, row.created_at) for row in dataset.retweets.values()),
    )
    rows = read_exposures(folder, nothing, dataset, rejects)
    pictures = {dataset.image_keys[key]: folder / row.image for key, row in dataset.tweets.items()}
    return network, None if rows is None else _exposures(network, rows), pictures


def _exposures(network: Network, rows: Iterable[ExposureRow]) -> Exposures:
    user_of = {user_id: number for number, user_id in enumerate(network.user_ids)}
    tweet_of = {tweet_id: number for number, tweet_id in enumerate(network.tweet_ids)}
    flat = array("q")
    for row in rows:
        flat.extend((user_of[row.user_id], tweet_of[row.tweet_id], to_ms(row.created_at)))
    exposed_X3 = np.array(flat, dtype=np.int64).reshape(-1, 3)
    return first_exposures(exposed_X3[:, 0], exposed_X3[:, 1], exposed_X3[:, 2])
