"""Word vectors that are trained on the training text, or read from a file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from contract.preprocessing import PAD_ID, Preprocessing, token_ids
from tests.problems import checkerboard
from training.errors import InputRejected, NotEnoughData
from training.made import read_made
from training.model import Amnl
from training.problem import Content
from training.settings import TrainingSettings, WordVectors
from training.tokenizer import train_tokenizer, vocabulary_of
from training.word_vectors import pretrained

pytestmark = pytest.mark.usefixtures("one_thread")

SEA, CITY, FILLING = ("wave", "beach", "gull", "sand"), ("tower", "tram", "street", "roof"), ("the", "a", "so", "my")
SETTINGS = TrainingSettings(word_dim=3, word_vectors="trained")


def content_of_texts(texts: Sequence[str], learnt_T: Sequence[bool] | None = None) -> Content:
    tokenizer = train_tokenizer(texts, min_count=1)
    ids_TSW = token_ids(tokenizer, texts, Preprocessing(image_size=1))
    content = Content.of(None, ids_TSW, tokenizer.get_vocab_size())
    return replace(
        content, words=vocabulary_of(tokenizer), learnt_T=None if learnt_T is None else np.array(learnt_T, dtype=bool)
    )


def of_two_topics(seed: int = 0, tweets: int = 200) -> Content:
    """Every tweet has two words of the sea or of the city, one a sentence, and two that go with either."""
    generator = np.random.default_rng(seed)
    texts = []
    for tweet in range(tweets):
        one, other = generator.choice((SEA, CITY)[tweet % 2], 2, replace=False)
        first, second = generator.choice(FILLING, 2)
        texts.append(f"{first} {one}. {second} #{other}!")
    return content_of_texts(texts)


def start(content: Content, word_vectors: WordVectors, dim: int = 3, seed: int = 0) -> dict[str, Tensor]:
    settings = TrainingSettings(word_vectors=word_vectors, word_dim=dim, seed=seed)
    return dict(zip(content.words, pretrained(content, settings), strict=True))


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_words_that_keep_company_are_near() -> None:
    vector = start(of_two_topics(), "trained", dim=2)

    def likeness(ones: Sequence[str], others: Sequence[str]) -> list[float]:
        pairs = [(one, other) for one in ones for other in others if one != other]
        return [torch.cosine_similarity(vector[one], vector[other], dim=0).item() for one, other in pairs]

    assert min(likeness(SEA, SEA) + likeness(CITY, CITY)) > max(likeness(SEA, CITY)) + 0.5


def test_one_seed_one_start() -> None:
    content = of_two_topics()
    one, again, other = (pretrained(content, SETTINGS.model_copy(update={"seed": seed})) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert one.allclose(other, atol=0.02)


def test_words_are_learnt_from_the_training_text_alone() -> None:
    early = ["red rose", "red rose", "blue sea", "blue sea"]
    learnt_T = [True, True, True, True, False, False]
    one, other = (content_of_texts([*early, *late], learnt_T) for late in (["red sea", "rose blue"], ["red", "blue"]))
    assert one.words == other.words
    assert torch.equal(pretrained(one, SETTINGS), pretrained(other, SETTINGS))


def test_a_folder_s_network_can_be_learnt_from(tiny_network: Path) -> None:
    content = read_made(tiny_network).problem(80, SETTINGS).content
    assert len(content.words) == content.vocabulary
    assert content.learnt_T is not None
    assert 0 < content.learnt_T.sum() < len(content.learnt_T)
    assert pretrained(content, SETTINGS).any(dim=1).float().mean() > 0.9


def test_more_dimensions_than_words_are_filled_with_zeros() -> None:
    content = content_of_texts(["red rose", "blue sea"])
    vectors_VD = pretrained(content, TrainingSettings(word_dim=20, word_vectors="trained"))
    assert vectors_VD.shape == (6, 20)
    assert not vectors_VD[:, 6:].any()


def test_a_text_without_company_is_refused() -> None:
    with pytest.raises(NotEnoughData, match="use --word-vectors none"):
        pretrained(content_of_texts(["red", "blue", ""]), SETTINGS)


@pytest.mark.parametrize("header", ["", "5 3\n"])
def test_a_file_s_words_are_found_in_the_vocabulary_s_form(tmp_path: Path, header: str) -> None:
    content = content_of_texts(["Red #rose don't", "naïve sea"])
    lines = "Red 1 0 0\nred 0 1 0 \nrose 0 2.5e-1 0\ndon't 0 0 -1\nabsent x y z\n\x85 1 1 1\n"
    vector = start(content, written(tmp_path / "vectors.txt", header + lines))
    known = {word: (value / vector["red"][0]).tolist() for word, value in vector.items() if value.any()}
    assert known == {"red": [1, 0, 0], "rose": [0, 0.25, 0], "don't": [0, 0, -1]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("red 1 2\n", "line 1: 2 numbers after the word, and --word-dim is 3: give --word-dim 2 if"),
        ("2 4\nred 1 2 3 4\n", "line 2: 4 numbers after the word, and --word-dim is 3: give --word-dim 4 if"),
        ("red 1 2 3\nsea 1 2\n", "line 2: 2 numbers after the word.* else mend or remove the line"),
        ("red 1 2 3\n\n", "line 2: 0 numbers after the word"),
        ("sea 1 2 3\nred 1 two 3\n", "line 2: could not convert string to float: 'two': mend or remove the line"),
        ("red 1 nan 3\n", "line 1: a number is not finite: mend or remove the line"),
        ("red 1 1e99 3\n", "line 1: a number is not finite: mend or remove the line"),
        ("green 1 2 3\n", "has no vector for any of the tweets' 5 words: give another file"),
        ("red 0 0 0\n", "has no vector for any"),
        ("", "has no vector for any"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path / "vectors.txt", text)
    with pytest.raises(InputRejected, match=f"^{path}.*{told}"):
        start(content_of_texts(["red sea", "rose"]), path)


@pytest.mark.parametrize("name", ["trainned", "."])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputRejected, match=r"cannot be read .*: --word-vectors is none, trained or a file's path"):
        start(content_of_texts(["red sea"]), tmp_path / name)


def amnl(content: Content, word_vectors: WordVectors) -> Tensor:
    """A new model's word vectors."""
    torch.manual_seed(0)
    settings = TrainingSettings(word_dim=3, init_std=0.2, word_vectors=word_vectors)
    return Amnl(replace(checkerboard(0), content=content), settings).encoder.word_vectors.weight.detach()


@pytest.mark.parametrize("source", ["trained", "file"])
def test_a_model_starts_from_them(tmp_path: Path, source: str) -> None:
    content = of_two_topics()
    file = written(tmp_path / "vectors.txt", "wave 1 2 3\nroof -3 0 1\n")
    word_vectors: WordVectors = "trained" if source == "trained" else file
    random_VD, started_VD = amnl(content, "none"), amnl(content, word_vectors)
    wanted_VD = pretrained(content, TrainingSettings(word_dim=3, init_std=0.2, word_vectors=word_vectors))
    known_V = wanted_VD.any(dim=1)
    assert torch.equal(started_VD[PAD_ID], torch.zeros(3))
    known_V[PAD_ID] = False
    assert known_V.sum() == (12 if source == "trained" else 2)
    assert torch.equal(started_VD[known_V], wanted_VD[known_V])
    assert torch.equal(started_VD[~known_V], random_VD[~known_V])


def test_they_are_as_large_as_the_random_ones() -> None:
    vectors_VD = amnl(of_two_topics(), "trained")
    known_VD = vectors_VD[vectors_VD.any(dim=1)][1:]
    assert known_VD.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.1)
