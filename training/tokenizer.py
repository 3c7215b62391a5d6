"""The word tokenizer, trained on the tweets' text; its JSON travels in the artefact."""

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from contract.preprocessing import PAD_ID, PAD_TOKEN, UNKNOWN_TOKEN

_WORD_STARTS_IN_HASHTAG = Regex(r"(?:#|(?!\A)\G)\w*?[\p{Ll}\p{N}]\K(?=\p{Lu})")
"""Where #MyOldTown has its second word and its third: each match starts at a # or where the last one ended."""
_NORMALIZER = normalizers.Sequence(
    [normalizers.Replace(_WORD_STARTS_IN_HASHTAG, " "), normalizers.NFKC(), normalizers.Lowercase()]
)


def word_form(word: str) -> str:
    """A word as it stands in the vocabulary."""
    form: str = _NORMALIZER.normalize_str(word)
    return form


def train_tokenizer(texts: Sequence[str], max_vocabulary: int = 50_000, min_count: int = 2) -> Tokenizer:
    """Lower-cased words (letters, digits, marks and apostrophes); a hashtag is its words. Rare words are unknown."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN_TOKEN))
    tokenizer.normalizer = _NORMALIZER
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\w'’]+"), behavior="removed", invert=True)
    trainer = trainers.WordLevelTrainer(
        vocab_size=max_vocabulary,
        min_frequency=min_count,
        special_tokens=[PAD_TOKEN, UNKNOWN_TOKEN],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.token_to_id(PAD_TOKEN) != PAD_ID:
        raise AssertionError("the padding token must have id 0")
    return tokenizer


def vocabulary_of(tokenizer: Tokenizer) -> list[str]:
    """Its words in order of their ids."""
    id_of = tokenizer.get_vocab()
    return sorted(id_of, key=id_of.__getitem__)
