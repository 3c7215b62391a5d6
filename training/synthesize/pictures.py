"""A visual topic rendered as a picture: a small landscape with shapes that float above it.

Every topic dimension is one thing that an eye can see and a convolutional backbone can read. Everything else (the kind
of ground, the palette's second colour, where the light comes from, birds, haze) is nuisance, drawn at random.

Shape suffixes: V topic dimension (8), Y X picture rows and columns (320), C colour channel (3).
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]

PICTURE_SIZE = 320
JPEG_QUALITY = 88
VISUAL_TOPICS = ("hue", "lightness", "shape", "size", "count", "texture", "orientation", "position")
"""Low to high: warm to cool, dark to light, spiky to round, small to large, one to many, smooth to grainy, level to
upright strokes, low to high in the frame."""

_MOST_SPIKY = 0.74
_EVENNESS = 1.4
"""At 1 every look is as frequent; above it extremes are rarer, and looks are nearer to linear in the topic."""
_TRIES = 30
_Y, _X = (axis.astype(np.float64) for axis in np.mgrid[0:PICTURE_SIZE, 0:PICTURE_SIZE])


@dataclass(frozen=True)
class _Look:
    """What the topic asks for, in the units that the drawing uses (degrees, OKLCH lightness, pixels)."""

    hue: float
    lightness: float
    spikiness: float
    radius: float
    count: int
    grain: float
    stroke_angle: float
    horizon: float


def render(visual_V: Floats, rng: np.random.Generator) -> bytes:
    """A JPEG of 320 x 320 pixels about a visual topic; `rng` draws the nuisance.

    `visual_V` is (8,), about standard normal in each dimension, in the order of `VISUAL_TOPICS`.
    """
    look = _look(visual_V)
    canvas_YXC = _sky(look, rng)
    _glow(canvas_YXC, look, rng)
    _ground(canvas_YXC, look, rng)
    _birds(canvas_YXC, look, rng)
    _shapes(canvas_YXC, look, rng)
    _strokes(canvas_YXC, look, rng)
    _grain(canvas_YXC, look, rng)
    if rng.random() < 0.5:
        canvas_YXC = canvas_YXC[:, ::-1]
    pixels = (np.clip(canvas_YXC, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _look(visual_V: Floats) -> _Look:
    share = [0.5 * (1.0 + math.erf(float(value) / (_EVENNESS * math.sqrt(2.0)))) for value in visual_V]
    return _Look(
        hue=85.0 - 245.0 * share[0],
        lightness=0.33 + 0.59 * share[1],
        spikiness=_MOST_SPIKY * (1.0 - share[2]),
        radius=12.0 * (48.0 / 12.0) ** share[3],
        count=round(14.0 ** share[4]),
        grain=0.034 * share[5],
        stroke_angle=90.0 * share[6],
        horizon=PICTURE_SIZE * (0.96 - 0.66 * share[7]),
    )


def _colour(lightness: float, chroma: float, hue: float) -> Floats:
    """sRGB of an OKLCH colour (Bjorn Ottosson, "A perceptual color space for image processing", 2020)."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    lms = np.array(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    linear = (
        np.array(
            [
                [4.0767416621, -3.3077115913, 0.2309699292],
                [-1.2684380046, 2.6097574011, -0.3413193965],
                [-0.0041960863, -0.7034186147, 1.7076147010],
            ]
        )
        @ lms**3
    ).clip(0.0, 1.0)
    encoded: Floats = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return encoded


def _blend(canvas_YXC: Floats, colour_C: Floats, opacity_YX: Floats) -> None:
    canvas_YXC += opacity_YX[..., None] * (colour_C - canvas_YXC)


def _sky(look: _Look, rng: np.random.Generator) -> Floats:
    top_C = _colour(look.lightness - 0.05, 0.15, look.hue + rng.uniform(-5, 5))
    low_C = _colour(min(look.lightness + 0.09, 0.95), 0.12, look.hue + rng.choice([-12.0, 12.0]))
    lean = rng.uniform(-0.25, 0.25)
    ramp_YX = ((_Y + lean * (_X - PICTURE_SIZE / 2)) / (look.horizon + 20.0)).clip(0.0, 1.0)
    ramp_YX = ramp_YX * ramp_YX * (3.0 - 2.0 * ramp_YX)
    sky_YXC: Floats = top_C + ramp_YX[..., None] * (low_C - top_C)
    return sky_YXC


def _glow(canvas_YXC: Floats, look: _Look, rng: np.random.Generator) -> None:
    """A soft light somewhere near the horizon."""
    x, y = rng.uniform(0, PICTURE_SIZE), look.horizon - rng.uniform(0, 100)
    reach = rng.uniform(50, 110)
    falloff_YX = np.exp(-((_Y[:, :1] - y) ** 2) / (2.0 * reach**2)) * np.exp(-((_X[:1] - x) ** 2) / (2.0 * reach**2))
    _blend(canvas_YXC, _colour(min(look.lightness + 0.14, 0.97), 0.06, look.hue - 10.0), 0.35 * falloff_YX)


def _ground(canvas_YXC: Floats, look: _Look, rng: np.random.Generator) -> None:
    """Three layers below the horizon, darker towards the viewer: mostly jagged under spiky shapes, soft under round."""
    jagged = rng.random() < look.spikiness / _MOST_SPIKY
    kind = str(rng.choice(["mountains", "roofs"] if jagged else ["hills", "waves"]))
    for layer in range(3):
        top_X = look.horizon + layer * (PICTURE_SIZE - look.horizon + 20.0) / 3.4 + _outline(kind, rng)
        first = max(int(top_X.min()) - 1, 0)
        colour_C = _colour(max(look.lightness - 0.20 - 0.02 * layer, 0.12), 0.09, look.hue + 35.0 + 6.0 * layer)
        _blend(canvas_YXC[first:], colour_C, 0.94 * (_Y[first:] - top_X + 0.5).clip(0.0, 1.0))


def _outline(kind: str, rng: np.random.Generator) -> Floats:
    """The rise and fall of a ground layer's edge, (X,), in pixels."""
    x_X = np.arange(PICTURE_SIZE, dtype=np.float64)
    phase = rng.uniform(0, 2 * np.pi, 2)
    rise_X: Floats
    if kind == "hills":
        rise_X = 10.0 * np.sin(x_X / rng.uniform(45, 70) + phase[0]) + 4.0 * np.sin(x_X / 21.0 + phase[1])
    elif kind == "waves":
        rise_X = 3.0 * np.sin(x_X / 9.0 + phase[0]) + 2.0 * np.sin(x_X / 23.0 + phase[1])
    elif kind == "mountains":
        peaks_X = np.abs((x_X / rng.uniform(60, 90) + phase[0]) % 2.0 - 1.0)
        rise_X = 24.0 * peaks_X - 12.0 + 4.0 * np.abs((x_X / 19.0 + phase[1]) % 2.0 - 1.0)
    else:
        edges = np.cumsum(rng.integers(14, 34, 24))
        rise_X = rng.uniform(-18.0, 6.0, edges.size + 1)[np.searchsorted(edges, x_X)]
    return rise_X


def _birds(canvas_YXC: Floats, look: _Look, rng: np.random.Generator) -> None:
    """Clutter: a few far birds, each a pair of wings."""
    colour_C = _colour(max(look.lightness - 0.25, 0.12), 0.03, look.hue)
    for _ in range(int(rng.integers(0, 4))):
        x, y, wing = int(rng.integers(20, 300)), int(rng.integers(20, 110)), rng.uniform(5, 8)
        rows, columns = slice(y - 12, y + 12), slice(x - 12, x + 12)
        across = np.abs(_X[rows, columns] - x)
        line = np.abs(_Y[rows, columns] - y - 0.5 * wing * np.cos(across / wing * 2.2))
        _blend(canvas_YXC[rows, columns], colour_C, 0.8 * (1.6 - line).clip(0.0, 1.0) * (across < wing))


def _shapes(canvas_YXC: Floats, look: _Look, rng: np.random.Generator) -> None:
    """The floating shapes, spread about a place above the horizon and kept apart where there is room."""
    accent = look.hue - 100.0 + rng.uniform(-10, 10)
    points = int(rng.integers(5, 7))
    turn = rng.uniform(0, 2 * np.pi)
    lift = 0.30 if look.lightness < 0.62 else -0.24
    radii = look.radius * rng.uniform(0.85, 1.15, look.count)
    for (x, y), radius in zip(_places(look, radii, rng), radii.tolist(), strict=True):
        lightness = min(look.lightness + lift + rng.uniform(-0.04, 0.04), 0.93)
        colour_C = _colour(lightness, 0.13, accent + rng.uniform(-10, 10))
        _shape(canvas_YXC, (x, y), radius, look.spikiness, points, turn + rng.uniform(-0.3, 0.3), colour_C)


def _places(look: _Look, radii: Floats, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Centres of the shapes: of some random places each takes the one farthest from those already taken."""
    middle_x, middle_y = PICTURE_SIZE / 2 + rng.uniform(-40, 40), look.horizon - 0.28 * PICTURE_SIZE + 20.0
    spread = 1.3 * look.radius * math.sqrt(look.count - 1) + 8.0
    taken: list[tuple[float, float]] = []
    for radius in radii.tolist():
        x_N = (middle_x + 1.5 * spread * rng.uniform(-1, 1, _TRIES)).clip(radius, PICTURE_SIZE - radius)
        y_N = (middle_y + 0.8 * spread * rng.uniform(-1, 1, _TRIES)).clip(radius, PICTURE_SIZE - radius)
        gap_N = np.min([np.hypot(x_N - x, y_N - y) for x, y in taken], axis=0) if taken else np.zeros(_TRIES)
        best = int(np.argmax(gap_N))
        taken.append((float(x_N[best]), float(y_N[best])))
    return taken


def _shape(
    canvas_YXC: Floats,
    centre: tuple[float, float],
    radius: float,
    spikiness: float,
    points: int,
    turn: float,
    colour_C: Floats,
) -> None:
    """One star-to-disc shape with a soft shadow, lit from above."""
    x, y = centre
    reach = int(1.3 * radius) + 12
    rows = slice(max(int(y) - reach, 0), int(y) + reach)
    columns = slice(max(int(x) - reach, 0), int(x) + reach)
    across, down = _X[rows, columns] - x, _Y[rows, columns] - y
    shadow = radius - np.hypot(across, down - 5.0)
    _blend(canvas_YXC[rows, columns], 0.35 * colour_C, 0.22 * (shadow / 10.0 + 0.6).clip(0.0, 1.0))
    valley = 1.0 - np.abs(((np.arctan2(down, across) + turn) * points / np.pi) % 2.0 - 1.0)
    inside = radius * (1.0 + 0.25 * spikiness - spikiness * valley) - np.hypot(across, down)
    lit_YXC = colour_C * (1.0 - 0.16 * down / radius)[..., None]
    _blend(canvas_YXC[rows, columns], lit_YXC, 0.97 * (inside + 0.5).clip(0.0, 1.0))


def _strokes(canvas_YXC: Floats, look: _Look, rng: np.random.Generator) -> None:
    """Soft parallel brush strokes over all, level to upright."""
    angle = math.radians(look.stroke_angle)
    across_YX = -_X * math.sin(angle) + _Y * math.cos(angle)
    along_YX = _X * math.cos(angle) + _Y * math.sin(angle)
    wobble_YX = 3.0 * np.sin(along_YX / rng.uniform(35, 55) + rng.uniform(0, 6.28))
    strokes_YX = np.sin((across_YX + wobble_YX) * (2 * np.pi / rng.uniform(15, 20)))
    canvas_YXC *= (1.0 + 0.036 * strokes_YX)[..., None]


def _grain(canvas_YXC: Floats, look: _Look, rng: np.random.Generator) -> None:
    """Film grain two pixels wide, and a vignette."""
    coarse = rng.standard_normal((PICTURE_SIZE // 2, PICTURE_SIZE // 2))
    grain_YX = np.repeat(np.repeat(coarse, 2, axis=0), 2, axis=1)
    far_YX = ((_X - PICTURE_SIZE / 2) ** 2 + (_Y - PICTURE_SIZE / 2) ** 2) / (PICTURE_SIZE / 2) ** 2
    canvas_YXC += (look.grain * grain_YX - 0.03 * far_YX)[..., None]
