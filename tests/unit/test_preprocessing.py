import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from contract.errors import ImageRejected, ImageTooLarge, ImageUnreadable
from contract.preprocessing import (
    MAX_IMAGE_BYTES,
    PAD_TOKEN,
    UNKNOWN_TOKEN,
    Preprocessing,
    decode_image,
    split_sentences,
    token_ids,
)
from training.tokenizer import train_tokenizer

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112


def saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def quarters() -> Image.Image:
    """Red, green above blue, white."""
    image = Image.new("RGB", (64, 64))
    for box, colour in (((0, 0), RED), ((32, 0), GREEN), ((0, 32), BLUE), ((32, 32), WHITE)):
        image.paste(colour, (*box, box[0] + 32, box[1] + 32))
    return image


def corners(pixels_HWC: np.ndarray[Any, Any]) -> list[tuple[int, ...]]:
    """Colours of the four quarters' middles, row by row, each channel 0 or 255."""
    low, high = pixels_HWC.shape[0] // 4, 3 * pixels_HWC.shape[0] // 4
    places = ((low, low), (low, high), (high, low), (high, high))
    return [tuple(round(channel / 255) * 255 for channel in pixels_HWC[place].tolist()) for place in places]


def valid_images() -> list[bytes]:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010E] = "a description"
    image = quarters()
    palette = image.convert("P")
    return [
        saved(image, "JPEG", exif=exif),
        saved(image, "JPEG", progressive=True),
        saved(image, "PNG", exif=exif),
        saved(palette, "PNG", transparency=0),
        saved(image, "WEBP", exif=exif),
        saved(palette, "GIF", save_all=True, append_images=[palette.rotate(90)]),
    ]


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("image_size", [32, 224])
def test_a_picture_becomes_rgb_pixels_of_the_size(format_: str, image_size: int) -> None:
    pixels = decode_image(saved(quarters(), format_), image_size)
    assert pixels.shape == (image_size, image_size, 3)
    assert pixels.dtype == np.uint8
    assert corners(pixels) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [RED, GREEN, BLUE, WHITE]),
        (2, [GREEN, RED, WHITE, BLUE]),
        (3, [WHITE, BLUE, GREEN, RED]),
        (4, [BLUE, WHITE, RED, GREEN]),
        (5, [RED, BLUE, GREEN, WHITE]),
        (6, [BLUE, RED, WHITE, GREEN]),
        (7, [WHITE, GREEN, BLUE, RED]),
        (8, [GREEN, WHITE, RED, BLUE]),
    ],
)
def test_the_exif_orientation_is_applied(orientation: int, expected: list[tuple[int, ...]]) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    assert corners(decode_image(saved(quarters(), "JPEG", exif=exif, quality=95), 64)) == expected


@pytest.mark.parametrize("size", [(449, 600), (801, 1_003), (2_000, 480), (1_795, 1_793)])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("kind", ["RGB", "CMYK", "progressive", "MPO"])
def test_a_large_jpeg_scaled_while_it_is_decoded_looks_as_a_png_of_it(
    size: tuple[int, int], orientation: int, kind: str
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    image = image.convert("CMYK") if kind == "CMYK" else image
    options: dict[str, dict[str, Any]] = {
        "progressive": {"progressive": True},
        "MPO": {"save_all": True, "append_images": [image]},
    }
    jpeg = saved(
        image, "MPO" if kind == "MPO" else "JPEG", quality=95, subsampling=0, exif=exif, **options.get(kind, {})
    )
    as_png = saved(Image.open(io.BytesIO(jpeg)).convert("RGB"), "PNG", compress_level=0, exif=exif)
    difference = decode_image(jpeg, 224).astype(int) - decode_image(as_png, 224)
    assert difference.any()  # the PNG was scaled in one step
    assert np.abs(difference).mean() < 1.5


def test_alpha_lies_over_white() -> None:
    image = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    assert decode_image(saved(image, "PNG"), 8).min() == 255
    half = Image.new("RGBA", (10, 10), (255, 0, 0, 128))
    assert np.abs(decode_image(saved(half, "PNG"), 8).astype(int) - (255, 127, 127)).max() <= 1


@pytest.mark.parametrize(
    ("mode", "colour", "options"),
    [("LA", (0, 0), {}), ("P", 3, {"transparency": 3}), ("L", 7, {"transparency": 7})],
)
def test_other_transparent_modes_lie_over_white(mode: str, colour: Any, options: dict[str, Any]) -> None:
    image = Image.new(mode, (10, 10), colour)
    if mode == "P":
        image.putpalette([0] * 768)
    assert decode_image(saved(image, "PNG", **options), 8).min() == 255


@pytest.mark.parametrize(("level", "expected"), [(0, 0), (128 * 257, 128), (65_535, 255)])
def test_sixteen_bit_grey_keeps_its_brightness(level: int, expected: int) -> None:
    image = Image.fromarray(np.full((10, 10), level, dtype=np.uint16))
    pixels = decode_image(saved(image, "PNG"), 8).astype(int)
    assert np.abs(pixels - expected).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.new("RGB", (10, 10), WHITE).convert(mode)
    pixels = decode_image(saved(image, "JPEG" if mode == "CMYK" else "PNG"), 8)
    assert (pixels.shape, int(pixels.min())) == ((8, 8, 3), 255)


@pytest.mark.parametrize("wide", [True, False])
def test_the_longer_side_is_cropped_at_both_ends(wide: bool) -> None:
    image = Image.new("RGB", (300, 100), RED)
    image.paste(GREEN, (100, 0, 200, 100))
    if not wide:
        image = image.transpose(Image.Transpose.ROTATE_90)
    pixels = decode_image(saved(image, "PNG"), 50)
    assert (pixels == GREEN).all(axis=-1).mean() > 0.9
    assert corners(pixels) == [GREEN] * 4


@pytest.mark.parametrize("size", [(1, 1), (1, 5_000), (5_000, 1)])
def test_odd_sizes_are_taken(size: tuple[int, int]) -> None:
    pixels = decode_image(saved(Image.new("RGB", size, BLUE), "PNG"), 16)
    assert (pixels == BLUE).all()


def test_too_many_bytes_are_refused_unread() -> None:
    with pytest.raises(ImageTooLarge, match=r"10,000,001 bytes; the limit is 10,000,000"):
        decode_image(bytes(MAX_IMAGE_BYTES + 1), 32)
    with pytest.raises(ImageUnreadable):
        decode_image(bytes(MAX_IMAGE_BYTES), 32)


def test_too_many_pixels_are_refused_before_decoding() -> None:
    whole = saved(Image.new("1", (6_325, 6_325)), "PNG")
    cut = whole[:200]  # decoding it would say that it is damaged
    with pytest.raises(ImageTooLarge, match=r"6325 x 6325 pixels; the limit is 40,000,000"):
        decode_image(cut, 32)


@pytest.mark.parametrize("side", [10_000, 30_000])
def test_decompression_bombs_are_refused(side: int) -> None:
    bomb = saved(Image.new("1", (side, side)), "PNG")
    with pytest.raises(ImageTooLarge, match=r"the limit is 40,000,000 pixels"):
        decode_image(bomb, 32)


@pytest.mark.parametrize("data", [b"", b"just text", b"GIF89a", b"\xff\xd8\xff\xe0", b"<svg/>"])
def test_what_is_no_picture_is_unreadable(data: bytes) -> None:
    with pytest.raises(ImageUnreadable):
        decode_image(data, 32)


@pytest.mark.parametrize("format_", ["BMP", "TIFF", "ICO"])
def test_other_formats_are_unreadable(format_: str) -> None:
    with pytest.raises(ImageUnreadable, match=r"no JPEG, PNG, WEBP, GIF file"):
        decode_image(saved(quarters(), format_), 32)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(6))
def test_a_picture_cut_short_is_unreadable(number: int) -> None:
    data = valid_images()[number]
    if number == 5:
        data = data[:900]  # inside the first frame: a GIF whose first frame is whole can be shown
    with pytest.raises(ImageUnreadable):
        decode_image(data[: len(data) // 2], 32)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tag", [0x0100, 0x0101, 0x011A])
def test_words_where_exif_has_numbers_are_no_crash(tag: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010E] = "a description"
    whole = saved(quarters(), "JPEG", exif=exif, quality=95)
    ascii_field = b"\x01\x0e\x00\x02"
    assert whole.count(ascii_field) == 1
    odd = whole.replace(ascii_field, tag.to_bytes(2, "big") + b"\x00\x02")
    try:
        pixels = decode_image(odd, 64)
    except ImageRejected:
        return
    assert corners(pixels) == [BLUE, RED, WHITE, GREEN]


@given(st.binary(max_size=2_000))
def test_random_bytes_are_rejected_and_nothing_else(data: bytes) -> None:
    with pytest.raises(ImageRejected):
        decode_image(data, 32)


@pytest.mark.filterwarnings("ignore")
@given(st.data())
@hypothesis_settings(max_examples=300, deadline=None)
def test_a_damaged_picture_is_shown_or_rejected(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from(valid_images())))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = decode_image(bytes(whole[: data.draw(st.integers(1, len(whole)))]), 32)
    except ImageRejected:
        return
    assert pixels.shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("...!?", []),
        ("one", ["one"]),
        ("One two. Three!  Four?", ["One two", "Three", "Four"]),
        ("wait... what?!", ["wait", "what"]),
        ("line\nbreak; and more…", ["line", "break", "and more"]),
        ("日本語。二つ！三つ？", ["日本語", "二つ", "三つ"]),
        ("बारिश। झील", ["बारिश", "झील"]),
        ("مطر؟ بحيرة۔ ليل", ["مطر", "بحيرة", "ليل"]),
    ],
)
def test_sentences_are_split(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


@pytest.fixture
def tokenizer() -> Tokenizer:
    vocabulary = {PAD_TOKEN: 0, UNKNOWN_TOKEN: 1, "a": 2, "b": 3, "c": 4}
    made = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN_TOKEN))
    made.pre_tokenizer = Whitespace()
    return made


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#AloneLife in #Rome", "alone life in rome"),
        ("#MyOldTown2Day #ÉtéBeau", "my old town2 day été beau"),
        ("an iPhone and #NASARocks", "an iphone and nasarocks"),
    ],
)
def test_a_hashtag_is_its_words(text: str, words: str) -> None:
    tokenizer = train_tokenizer([text, words], min_count=1)
    assert tokenizer.encode(text).tokens == words.split()


def test_token_ids_are_padded_with_zero(tokenizer: Tokenizer) -> None:
    ids = token_ids(tokenizer, ["a b c. a", "b", "", "zzz"], Preprocessing(image_size=8))
    assert ids.dtype == np.int64
    assert ids.tolist() == [
        [[2, 3, 4], [2, 0, 0]],
        [[3, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0]],
        [[1, 0, 0], [0, 0, 0]],
    ]


def test_token_ids_stop_at_the_limits(tokenizer: Tokenizer) -> None:
    limits = Preprocessing(image_size=8, max_sentences=2, max_words=3)
    ids = token_ids(tokenizer, ["a b c a b. b a. c c c"], limits)
    assert ids.tolist() == [[[2, 3, 4], [3, 2, 0]]]


@pytest.mark.parametrize("texts", [[""], ["", ""], ["?!"]])
def test_empty_texts_keep_one_padded_place(tokenizer: Tokenizer, texts: list[str]) -> None:
    ids = token_ids(tokenizer, texts, Preprocessing(image_size=8))
    assert ids.tolist() == [[[0]]] * len(texts)


def test_a_text_s_ids_do_not_depend_on_its_neighbours(tokenizer: Tokenizer) -> None:
    alone = token_ids(tokenizer, ["a b. c"], Preprocessing(image_size=8))
    together = token_ids(tokenizer, ["a. b. c. a", "a b. c", "a b c a b c"], Preprocessing(image_size=8))
    assert together[1, :2, :2].tolist() == alone[0].tolist()
    assert together[1].sum() == alone.sum()


@given(st.lists(st.text(max_size=200), max_size=5))
def test_any_text_has_token_ids(texts: list[str]) -> None:
    made = Tokenizer(WordLevel({PAD_TOKEN: 0, UNKNOWN_TOKEN: 1}, unk_token=UNKNOWN_TOKEN))
    made.pre_tokenizer = Whitespace()
    limits = Preprocessing(image_size=8)
    ids = token_ids(made, texts, limits)
    assert ids.shape[0] == len(texts)
    assert 1 <= ids.shape[1] <= limits.max_sentences
    assert 1 <= ids.shape[2] <= limits.max_words
