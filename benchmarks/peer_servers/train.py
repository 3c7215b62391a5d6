"""Train a peer's model on retweets and save it as the peer's documentation says.

python train.py librecommender RETWEETS.csv FOLDER DIM REDIS_PORT REDIS_DATABASE
python train.py cornac RETWEETS.csv FOLDER DIM

A line of RETWEETS.csv is the numbers of a user and an item. What is learnt does not matter, so that few epochs do.
"""

import sys
from pathlib import Path

import pandas as pd

EPOCHS = 3


def librecommender(retweets: pd.DataFrame, folder: Path, dim: int, port: int, database: int) -> None:
    """ALS; the index goes into FOLDER, all else to Redis by way of FOLDER/embed."""
    from libreco.algorithms import ALS
    from libreco.data import DatasetPure
    from libserving.serialization import embed2redis, save_embed, save_faiss_index

    train_set, info = DatasetPure.build_trainset(retweets.assign(label=1))
    model = ALS("ranking", info, embed_size=dim, n_epochs=EPOCHS, reg=0.1, seed=0)
    model.fit(train_set, neg_sampling=True, verbose=0)
    save_embed(str(folder / "embed"), model)
    save_faiss_index(str(folder), model)
    embed2redis(str(folder / "embed"), port=port, db=database)


def cornac(retweets: pd.DataFrame, folder: Path, dim: int) -> None:
    """BPR, in FOLDER/BPR, with what it was trained on."""
    from cornac.data import Dataset
    from cornac.models import BPR

    train_set = Dataset.from_uir([(str(user), str(item), 1.0) for user, item in retweets.to_numpy()], seed=0)
    BPR(k=dim, max_iter=EPOCHS, seed=0).fit(train_set).save(str(folder), save_trainset=True)


if __name__ == "__main__":
    peer, file, target, *numbers = sys.argv[1:]
    train = {"librecommender": librecommender, "cornac": cornac}[peer]
    train(pd.read_csv(file, names=["user", "item"]), Path(target), *map(int, numbers))
