"""Where AMNL's word vectors start: by the company that words keep in the training text, or from a file.

Shape suffixes: T image tweets, V words of the vocabulary, D dimensions, N pairs of words.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from contract.preprocessing import PAD_ID
from training.errors import InputRejected, NotEnoughData
from training.indexing import entries, pair_matrix
from training.network import Ints
from training.problem import Content, Floats
from training.settings import TrainingSettings
from training.tokenizer import word_form


def pretrained(content: Content, settings: TrainingSettings) -> Tensor:
    """Vectors to start from, float32 [V, D]; 0 for a word that has none and so keeps its random start.

    Their root mean square is `init_std`, as that of the random ones is. Raises InputRejected for a file that cannot be
    used, NotEnoughData where the text has no two words together.
    """
    if settings.word_vectors == "none" or content.token_ids_TSW is None:
        return torch.zeros(content.vocabulary, settings.word_dim)
    if settings.word_vectors == "trained":
        ids_TW = content.token_ids_TSW.flatten(1).numpy()
        learnt_TW = ids_TW if content.learnt_T is None else ids_TW[content.learnt_T]
        vectors_VD = of_company(learnt_TW, content.vocabulary, settings.word_dim, settings.seed)
    else:
        vectors_VD = of_file(settings.word_vectors, content.words, settings.word_dim)
    known_VD = vectors_VD[vectors_VD.any(axis=1)]
    scale = settings.init_std / np.sqrt(np.square(known_VD).mean())
    return torch.from_numpy((vectors_VD * scale).astype(np.float32))


def of_company(ids_TW: Ints, vocabulary: int, dim: int, seed: int) -> Floats:
    """Singular vectors of the words' positive pointwise mutual information within a tweet, float64 [V, D].

    That is what word2vec factorises (Levy and Goldberg, NIPS 2014), without its sampling. Each direction counts by the
    root of its singular value. Raises NotEnoughData where no two words are more often together than by chance.
    """
    tweet_N, place_N = np.nonzero(ids_TW != PAD_ID)
    has_TV = pair_matrix(tweet_N, ids_TW[tweet_N, place_N], (len(ids_TW), vocabulary)).astype(bool).astype(float)
    one_N, other_N, together_N = entries((has_TV.T @ has_TV).tocsr())
    pair = one_N != other_N
    one_N, other_N, together_N = one_N[pair], other_N[pair], together_N[pair]
    total_V = np.bincount(one_N, together_N, vocabulary)
    information_N = np.log(together_N * together_N.sum() / (total_V[one_N] * total_V[other_N])).clip(min=0)
    if not information_N.any():
        raise NotEnoughData("no two known words keep company in the training text: use --word-vectors none")
    from sklearn.utils.extmath import randomized_svd  # a quarter of a retrain's imports, for this alone

    information_VV = csr_array((information_N, (one_N, other_N)), shape=(vocabulary, vocabulary))
    _, strength_D, words_DV = randomized_svd(information_VV, min(dim, vocabulary), random_state=seed)
    vectors_VD = np.zeros((vocabulary, dim))
    vectors_VD[:, : len(strength_D)] = (words_DV * np.sqrt(strength_D)[:, None]).T
    vectors_VD[information_VV.sum(axis=1) == 0] = 0
    return vectors_VD


def of_file(path: Path, words: Sequence[str], dim: int) -> Floats:
    """Those of a text file in word2vec's or GloVe's form, float64 [V, D]; 0 for a word that the file has not.

    A line is a word and its numbers, a space between any two; a first line of two whole numbers (how many words, how
    many numbers a word) is passed over. Words are brought to the vocabulary's form; of several that become the same,
    the first counts. Raises InputRejected, with the line, where it cannot be used.
    """
    id_of = {word: number for number, word in enumerate(words)}
    vectors_VD = np.zeros((len(words), dim))
    try:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            for place, line in enumerate(file, start=1):
                word, *numbers = line.rstrip().split(" ")
                if place == 1 and len(numbers) == 1 and word.isdigit() and numbers[0].isdigit():
                    continue
                if len(numbers) != dim:
                    raise InputRejected(
                        f"{path}, line {place}: {len(numbers)} numbers after the word, and --word-dim is {dim}: give "
                        f"--word-dim {len(numbers)} if the whole file has so many, else mend or remove the line"
                    )
                number = id_of.pop(word_form(word), None)
                if number is not None:
                    vectors_VD[number] = _finite(numbers, f"{path}, line {place}")
    except OSError as error:
        raise InputRejected(
            f"{path} cannot be read ({error.strerror}): --word-vectors is none, trained or a file's path"
        ) from error
    if not vectors_VD.any():
        raise InputRejected(f"{path} has no vector for any of the tweets' {len(words):,} words: give another file")
    return vectors_VD


def _finite(numbers: list[str], where: str) -> Floats:
    try:
        with np.errstate(over="ignore"):
            vector_D = np.array(numbers, dtype=np.float32)
    except ValueError as error:
        raise InputRejected(f"{where}: {error}: mend or remove the line") from error
    if not np.isfinite(vector_D).all():
        raise InputRejected(f"{where}: a number is not finite: mend or remove the line")
    return vector_D
