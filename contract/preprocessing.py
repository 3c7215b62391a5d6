"""From what a person posts to what encoder.onnx takes: image bytes -> uint8 pixels, text -> token ids.

Shape suffixes: B tweets, S sentences, W words, H height, W width (images), C colours.
"""

import io
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer

from contract.errors import ImageTooLarge, ImageUnreadable

MAX_IMAGE_BYTES = 10_000_000
MAX_IMAGE_PIXELS = 40_000_000
MAX_TEXT_LENGTH = 2_000
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")

PAD_TOKEN, UNKNOWN_TOKEN = "[PAD]", "[UNK]"
PAD_ID = 0

_STRIP_PIXELS = 1_000_000
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SENTENCE_END = re.compile(r"[.!?…。！？؟।॥۔;\n]+")


class Preprocessing(BaseModel):
    """The settings that a trained encoder fixes; they travel in its manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int
    max_sentences: int = 6
    max_words: int = 32


def decode_image(data: bytes, image_size: int) -> npt.NDArray[np.uint8]:
    """Decode a picture to the encoder's size.

    The EXIF orientation is applied, alpha is laid over white, the shorter side is scaled to `image_size` and the longer
    one cropped at both ends. A JPEG that is twice as large or more is scaled to a half, a quarter or an eighth as it is
    decoded, and from there by a bicubic filter.

    Returns uint8 [image_size, image_size, 3], RGB.
    Raises ImageTooLarge before decoding where bytes or pixels exceed the limits, ImageUnreadable where the bytes are
    no JPEG, PNG, WebP or GIF or are damaged.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageTooLarge(f"image has {len(data):,} bytes; the limit is {MAX_IMAGE_BYTES:,}: send a smaller file")
    image, (width, height), turn = _read(data, image_size)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    square = _on_white(image).resize(
        (image_size, image_size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    return np.asarray(square if turn is None else square.transpose(turn), dtype=np.uint8)


def _read(data: bytes, image_size: int) -> tuple[Image.Image, tuple[float, float], Image.Transpose | None]:
    """Pixels, at least `image_size` each way where there are; how wide and high the picture is in them; how to turn it.

    A JPEG that is scaled as it is decoded ends within its last pixels. Raises as `decode_image` does.
    ImageOps.exif_transpose also rewrites the other tags, and fails on damaged ones.
    """
    try:
        with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise ImageTooLarge(_too_many_pixels(f"{image.width} x {image.height} pixels"))
            scaled = image.draft(None, (image_size, image_size))
            image.load()
            turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
            if image.mode in ("P", "PA") and image.palette is None:
                raise ValueError("it has no palette")
    except (ImageTooLarge, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge(_too_many_pixels("far too many pixels")) from error
    except UnidentifiedImageError as error:
        raise ImageUnreadable(f"image is no {', '.join(IMAGE_FORMATS)} file: send the picture's own bytes") from error
    except Exception as error:  # Pillow names no set of errors: its readers raise what damaged bytes lead them to
        raise ImageUnreadable(f"image is damaged or cut short ({error}): send the whole file") from error
    size = (image.width, image.height) if scaled is None else scaled[1][2:]
    return image, size, turn


def _on_white(image: Image.Image) -> Image.Image:
    """As RGB; some rows at a time, so that the largest picture costs twice its pixels and not five times."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    whole = Image.new("RGB", image.size)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        whole.paste(_strip_on_white(image.crop(box)), box)
    return whole


def _strip_on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip to 8
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _too_many_pixels(found: str) -> str:
    return f"image has {found}; the limit is {MAX_IMAGE_PIXELS:,} pixels in all: send it scaled down"


def split_sentences(text: str) -> list[str]:
    """Split at sentence punctuation and line ends (paper, section 3.1); empty pieces are dropped."""
    return [piece for part in _SENTENCE_END.split(text) if (piece := part.strip())]


def token_ids(tokenizer: Tokenizer, texts: Sequence[str], settings: Preprocessing) -> npt.NDArray[np.int64]:
    """Token ids of each text's sentences, padded with PAD_ID.

    Returns int64 [B, S, W] with S and W the largest counts in this batch (at least 1, at most the settings' limits).
    """
    sentences_B = [split_sentences(text)[: settings.max_sentences] for text in texts]
    words_B = [
        [encoding.ids[: settings.max_words] for encoding in tokenizer.encode_batch(sentences)]
        for sentences in sentences_B
    ]
    sentence_count = max((len(words) for words in words_B), default=1) or 1
    word_count = max((len(ids) for words in words_B for ids in words), default=1) or 1
    ids_BSW = np.full((len(texts), sentence_count, word_count), PAD_ID, dtype=np.int64)
    for b, words in enumerate(words_B):
        for s, ids in enumerate(words):
            ids_BSW[b, s, : len(ids)] = ids
    return ids_BSW
