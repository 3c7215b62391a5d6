"""A text topic written as a tweet: one to three short sentences and now and then a hashtag.

Each topic dimension has two poles, each pole two grades (mild, strong), each grade four ways to say it. A tweet speaks
of every dimension that is not zero (see `behaviour.draw_topics`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.synthesize.behaviour import STRONG

TEXT_TOPICS = ("company", "place", "weather", "time", "mood", "food", "craft", "memory")
"""Low to high: alone to crowd, city to wilderness, rain to sun, night to morning, calm to wild, sweet to savoury,
analogue to digital, past to future."""

# By topic: strongly low, low, high, strongly high. The word after * is the one that says it, and the hashtag.
_PHRASES: dict[str, tuple[tuple[str, ...], ...]] = {
    "company": (
        ("all *alone", "completely *solo", "in total *solitude", "all by *myself"),
        ("on my *own", "just *me", "without *company", "with only my *headphones"),
        ("with a *friend", "with my *sister", "with *mum", "with my *partner"),
        ("with the whole *crew", "with *everyone", "with the entire *family", "in a huge *crowd"),
    ),
    "place": (
        ("*downtown", "among *skyscrapers", "on the *subway", "in the big *city"),
        ("on our *street", "around the *corner", "at the *market", "near the *station"),
        ("in the *park", "in the *garden", "by the *river", "at the *lake"),
        ("in the *wilderness", "deep in the *forest", "up in the *mountains", "down in the *valley"),
    ),
    "weather": (
        ("in the pouring *rain", "under *thunder", "in a *downpour", "through the *storm"),
        ("in the *drizzle", "under grey *clouds", "in light *mist", "between two *showers"),
        ("in a warm *breeze", "under a *clear sky", "with some *sunshine", "on a *mild day"),
        ("in the *blazing sun", "in the *heatwave", "in *dazzling light", "under *scorching skies"),
    ),
    "time": (
        ("at *midnight", "long after *dark", "past *bedtime", "in the dead of *night"),
        ("this *evening", "at *dusk", "around *sunset", "late *tonight"),
        ("this *morning", "after *breakfast", "before *lunch", "around *noon"),
        ("at *dawn", "before *sunrise", "at *daybreak", "with the early *birds"),
    ),
    "mood": (
        ("utterly *peaceful", "pure *stillness", "complete *serenity", "total *zen"),
        ("feeling *calm", "nice and *slow", "pretty *relaxed", "rather *quiet"),
        ("feeling *lively", "quite *cheerful", "a bit *restless", "rather *upbeat"),
        ("absolutely *wild", "totally *electric", "pure *chaos", "what a *rush"),
    ),
    "food": (
        ("so much *cake", "*chocolate again", "covered in *caramel", "double *icecream"),
        ("a spoon of *honey", "one more *cookie", "some *vanilla tea", "fresh *berries"),
        ("a slice of *bread", "some *soup after", "*cheese on toast", "a small *salad"),
        ("extra spicy *ramen", "*kimchi for all", "too much *chili", "fully loaded *tacos"),
    ),
    "craft": (
        ("shot on *film", "straight from the *darkroom", "fully *analogue", "an old *polaroid"),
        ("a quick *sketch", "some *watercolour", "from my *notebook", "half *handmade"),
        ("just a *snapshot", "slightly *edited", "only one *filter", "from my *phone"),
        ("all *pixels", "rendered in *code", "purely *digital", "made by *shaders"),
    ),
    "memory": (
        ("I *miss those years", "so *nostalgic", "like in my *childhood", "the good old *days"),
        ("like last *summer", "I *remember this", "an old *favourite", "same as *yesterday"),
        ("again *tomorrow", "back *soon", "more next *weekend", "the *plan continues"),
        ("the *future is here", "big *dreams ahead", "*someday everywhere", "cannot *wait any longer"),
    ),
}
_SETTING = TEXT_TOPICS[:4]
_OPENERS = (
    "Walking",
    "Wandering",
    "Out",
    "Sitting",
    "Here",
    "Out and about",
    "A little walk",
    "Found this",
    "Exploring",
)
_BARE_OPENERS = ("Look at this", "Had to share this", "Just look", "Found this one", "My pick of the day")
_EXCLAMATIONS = ("Oh wow!", "Yes!", "Finally!", "Look!", "Ha!")
_TAG_ENDINGS = ("", "", "", "Life", "Mood", "Diary")
_LOOSE_TAGS = ("#photo", "#today", "#picoftheday")


def write(text_V: NDArray[np.float64], rng: np.random.Generator) -> str:
    """A tweet about a text topic: some 6 to 20 words, hashtags last; `rng` draws synonyms, order and function words.

    `text_V` is (8,), in the order of `TEXT_TOPICS`; a value's sign picks the pole, its size the grade.
    """
    said = {topic: _phrase(topic, float(value), rng) for topic, value in zip(TEXT_TOPICS, text_V, strict=True) if value}
    tags: list[str] = []
    claims = [topic for topic in said if topic not in _SETTING]
    if len(claims) > 1 and rng.random() < 0.6:
        tags.append(_hashtag(said.pop(claims[int(rng.integers(len(claims)))]), rng))
    if rng.random() < 0.12:
        tags.append(_pick(_LOOSE_TAGS, rng))
    sentences = [_setting(said, rng), *_remarks(said, rng)]
    if len(sentences) < 3 and rng.random() < 0.15:
        sentences.insert(0, _pick(_EXCLAMATIONS, rng))
    return " ".join([sentence for sentence in sentences if sentence] + tags)


def _phrase(topic: str, value: float, rng: np.random.Generator) -> str:
    grade = (0 if value <= -STRONG else 1) if value < 0 else (3 if value >= STRONG else 2)
    return _pick(_PHRASES[topic][grade], rng)


def _setting(said: dict[str, str], rng: np.random.Generator) -> str:
    """With whom, where, in what weather and when, as one sentence."""
    parts = [said[topic] for topic in _SETTING if topic in said]
    if not parts:
        return f"{_pick(_BARE_OPENERS, rng)}."
    if len(parts) > 1 and rng.random() < 0.6:
        return _sentence(" ".join(parts), rng)
    return _sentence(" ".join([_pick(_OPENERS, rng), *parts]), rng)


def _remarks(said: dict[str, str], rng: np.random.Generator) -> list[str]:
    """The rest, as one sentence or two."""
    parts = [said[topic] for topic in TEXT_TOPICS if topic in said and topic not in _SETTING]
    joined = len(parts) > 2 or rng.random() < 0.5
    sentences = [", ".join(parts[:2]), ", ".join(parts[2:])] if joined else parts
    return [_sentence(sentence, rng) for sentence in sentences if sentence]


def _sentence(words: str, rng: np.random.Generator) -> str:
    plain = words.replace("*", "")
    return plain[0].upper() + plain[1:] + ("!" if rng.random() < 0.15 else ".")


def _hashtag(phrase: str, rng: np.random.Generator) -> str:
    word = phrase.split("*")[1].split()[0]
    ending = _pick(_TAG_ENDINGS, rng)
    return f"#{word.capitalize()}{ending}" if ending else f"#{word}"


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
