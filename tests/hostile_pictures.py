"""Pictures that are broken, odd or meant to do harm, and what an answer to each has to be."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
ORIENTATION = 0x0112

TAKEN, UNREADABLE, TOO_LARGE = (201, None), (422, "image-unreadable"), (413, "image-too-large")


@dataclass(frozen=True)
class Picture:
    """`make` is called in the test that needs the bytes."""

    make: Callable[[], bytes]
    expected: tuple[int, str | None]
    media_type: str | None = None


def scene(mode: str = "RGB", size: tuple[int, int] = (60, 44)) -> Image.Image:
    """Not the same upside down or mirrored."""
    height, width = size[1], size[0]
    y, x = np.mgrid[0:height, 0:width]
    colours_HWC = np.stack([x * 255 // max(1, width), y * 255 // max(1, height), (x * y) % 256], axis=-1)
    return Image.fromarray(colours_HWC.astype(np.uint8)).convert(mode)


def saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One of a PNG, with its right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, *more: bytes, kind: tuple[int, int, int] = (8, 0, 0)) -> bytes:
    """A PNG made by hand: chunks `more` before the rows, which zlib made; kind is (bits, colour type, interlace)."""
    bits, colour, interlace = kind
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    return SIGNATURE + chunk(b"IHDR", header) + b"".join(more) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@cache
def zeros(count: int) -> bytes:
    """So many zero bytes, compressed."""
    packer, block = zlib.compressobj(1), bytes(1_000_000)
    parts = [packer.compress(block) for _ in range(count // len(block))]
    return b"".join([*parts, packer.compress(bytes(count % len(block))), packer.flush()])


def bomb() -> bytes:
    """50,000 x 50,000 pixels of one bit: 312 MB, and as RGB 7.5 GB."""
    return png(50_000, 50_000, zeros(50_000 * 6_251), kind=(1, 0, 0))


def largest() -> bytes:
    """As many pixels as are taken, with alpha, which costs most."""
    return saved(Image.new("RGBA", (6_324, 6_324), (200, 10, 10, 77)), "PNG", compress_level=1)


def interlaced() -> bytes:
    """Adam7, of an 8 x 8 grey picture."""
    grey_HW = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
    rows = b"".join(b"\0" + row.tobytes() for y, dy, x, dx in passes for row in grey_HW[y::dy, x::dx])
    return png(8, 8, zlib.compress(rows), kind=(8, 0, 1))


def with_text(count: int) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * count)
    return saved(scene(), "PNG", pnginfo=info)


def frames(format_: str, **options: Any) -> bytes:
    return saved(scene(), format_, save_all=True, append_images=[scene().rotate(90), scene("L")], **options)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("picture.jpg", saved(scene(), "JPEG"))
    return buffer.getvalue()


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG whose frame header says another size than it has."""
    data = saved(scene(), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def gif_of_size(width: int, height: int) -> bytes:
    data = saved(scene(), "GIF")
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def webp_of_size(side: int) -> bytes:
    """An animation with small frames on a large canvas."""
    data, size = frames("WEBP", duration=40), (side - 1).to_bytes(3, "little")
    return data[:24] + size + size + data[30:]


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return saved(scene(), "PNG", exif=exif)


def broken_profile() -> bytes:
    return saved(scene(), "JPEG", icc_profile=b"no profile at all" * 20)


def flat(size: tuple[int, int]) -> Callable[[], bytes]:
    return lambda: saved(Image.new("RGB", size, "olive"), "PNG")


def of(data: bytes) -> Callable[[], bytes]:
    return lambda: data


GOOD_PNG, GOOD_JPEG, GOOD_WEBP = saved(scene(), "PNG"), saved(scene(), "JPEG"), saved(scene(), "WEBP")
ROWS = zlib.compress(bytes(11) * 10)

PICTURES: dict[str, Picture] = {
    "jpeg-cut-near-its-end": Picture(of(GOOD_JPEG[:-40]), UNREADABLE),
    "jpeg-cut-in-its-header": Picture(of(GOOD_JPEG[:200]), UNREADABLE),
    "jpeg-of-noise": Picture(of(JPEG_START + bytes(range(256)) * 40), UNREADABLE),
    "jpeg-of-65500-squared": Picture(lambda: jpeg_of_size(65_500, 65_500), TOO_LARGE),
    "jpeg-of-no-width": Picture(lambda: jpeg_of_size(0, 44), UNREADABLE),
    "jpeg-longer-than-its-data": Picture(lambda: jpeg_of_size(600, 4_400), TAKEN, "image/jpeg"),
    "jpeg-cmyk": Picture(lambda: saved(scene("CMYK"), "JPEG"), TAKEN, "image/jpeg"),
    "jpeg-grey": Picture(lambda: saved(scene("L"), "JPEG"), TAKEN, "image/jpeg"),
    "jpeg-progressive": Picture(lambda: saved(scene(), "JPEG", progressive=True), TAKEN, "image/jpeg"),
    "jpeg-progressive-cut": Picture(
        lambda: saved(scene(size=(400, 300)), "JPEG", progressive=True)[:-2_000], UNREADABLE
    ),
    "jpeg-broken-profile": Picture(broken_profile, TAKEN, "image/jpeg"),
    "jpeg-with-data-behind": Picture(of(GOOD_JPEG + b"\0" * 100_000 + b"<script>"), TAKEN, "image/jpeg"),
    "jpeg-with-zip-behind": Picture(lambda: GOOD_JPEG + zipped(), TAKEN, "image/jpeg"),
    "jpeg-of-many-pictures": Picture(lambda: frames("MPO"), TAKEN, "image/jpeg"),
    "jpeg-orientation-9": Picture(lambda: turned(9), TAKEN, "image/png"),
    "png-bomb": Picture(bomb, TOO_LARGE),
    "png-says-too-much": Picture(lambda: png(2**31 - 1, 2**31 - 1, ROWS), TOO_LARGE),
    "png-largest-that-is-taken": Picture(largest, TAKEN, "image/png"),
    "png-of-no-width": Picture(lambda: png(0, 10, ROWS), UNREADABLE),
    "png-rows-missing": Picture(lambda: png(10, 5_000, ROWS), TAKEN, "image/png"),
    "png-rows-too-many": Picture(lambda: png(10, 10, zeros(100_000_000)), TAKEN, "image/png"),
    "png-wrong-checksum": Picture(of(GOOD_PNG[:40] + b"\xff" + GOOD_PNG[41:]), UNREADABLE),
    "png-magic-alone": Picture(of(SIGNATURE), UNREADABLE),
    "png-16-bit-grey": Picture(lambda: saved(scene("I;16"), "PNG"), TAKEN, "image/png"),
    "png-16-bit-colour": Picture(lambda: png(2, 2, zlib.compress(bytes(26)), kind=(16, 2, 0)), TAKEN, "image/png"),
    "png-grey-alpha": Picture(lambda: saved(scene("LA"), "PNG"), TAKEN, "image/png"),
    "png-palette-transparent": Picture(lambda: saved(scene("P"), "PNG", transparency=bytes(99)), TAKEN, "image/png"),
    "png-palette-missing": Picture(lambda: png(10, 10, ROWS, kind=(8, 3, 0)), UNREADABLE),
    "png-interlaced": Picture(interlaced, TAKEN, "image/png"),
    "png-one-bit": Picture(lambda: saved(scene("1"), "PNG"), TAKEN, "image/png"),
    "png-1x1": Picture(flat((1, 1)), TAKEN, "image/png"),
    "png-1x10000": Picture(flat((1, 10_000)), TAKEN, "image/png"),
    "png-10000x1": Picture(flat((10_000, 1)), TAKEN, "image/png"),
    "png-long-text": Picture(lambda: with_text(9_000), TAKEN, "image/png"),
    "png-text-bomb": Picture(
        lambda: png(10, 10, ROWS, chunk(b"zTXt", b"comment\0\0" + zeros(100_000_000))), UNREADABLE
    ),
    "png-profile-bomb": Picture(lambda: png(10, 10, ROWS, chunk(b"iCCP", b"icc\0\0" + zeros(100_000_000))), UNREADABLE),
    "png-animated": Picture(lambda: frames("PNG"), TAKEN, "image/png"),
    "gif-animated": Picture(lambda: frames("GIF", duration=40), TAKEN, "image/gif"),
    "gif-of-65535-squared": Picture(lambda: gif_of_size(65_535, 65_535), TOO_LARGE),
    "gif-without-a-frame": Picture(of(b"GIF89a\x10\0\x10\0\0\0\0;"), UNREADABLE),
    "gif-with-page-behind": Picture(lambda: saved(scene(), "GIF") + b"<html><script>", TAKEN, "image/gif"),
    "webp-animated": Picture(lambda: frames("WEBP", duration=40), TAKEN, "image/webp"),
    "webp-lossless-alpha": Picture(lambda: saved(scene("RGBA"), "WEBP", lossless=True), TAKEN, "image/webp"),
    "webp-of-16383-squared": Picture(lambda: webp_of_size(16_383), TOO_LARGE),
    "webp-cut": Picture(of(GOOD_WEBP[:-30]), UNREADABLE),
    "webp-magic-alone": Picture(of(b"RIFF\x10\0\0\0WEBPVP8 "), UNREADABLE),
    "nothing": Picture(of(b""), UNREADABLE),
    "one-byte": Picture(of(b"\xff"), UNREADABLE),
    "svg": Picture(of(b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'), UNREADABLE),
    "page-named-jpg": Picture(of(b"<!doctype html><title>picture.jpg</title>"), UNREADABLE),
    "page-before-jpeg": Picture(of(b"<html><!--" + GOOD_JPEG), UNREADABLE),
    "postscript": Picture(of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n"), UNREADABLE),
    "pdf": Picture(lambda: saved(scene(), "PDF"), UNREADABLE),
    "psd": Picture(of(b"8BPS\0\x01" + bytes(6) + b"\0\x03\0\0\0\x09\0\0\0\x09\0\x08\0\x03" + bytes(900)), UNREADABLE),
    "zip": Picture(zipped, UNREADABLE),
    "bmp": Picture(lambda: saved(scene(), "BMP"), UNREADABLE),
    "tiff": Picture(lambda: saved(scene(), "TIFF"), UNREADABLE),
    "ico": Picture(lambda: saved(scene(), "ICO"), UNREADABLE),
    "jpeg-2000": Picture(of(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(900)), UNREADABLE),
    "avif": Picture(of(b"\0\0\0\x20ftypavif" + bytes(900)), UNREADABLE),
    "elf": Picture(of(b"\x7fELF" + bytes(900)), UNREADABLE),
}
