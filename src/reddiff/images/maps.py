"""Heat maps with a labeled scale."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from reddiff.images.sheets import GAP, INK, PAPER

BAR, LEVELS = 16, 5
# Five colors of viridis, dark to bright, perceptually uniform also in gray.
COLORS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)])


def heat_map(
    values: Float[Tensor, "h w"], title: str, *, top: float | None = None, font_size: int = 15
) -> Image.Image:
    """Values from 0 to their maximum in colors, with a title above and a scale at the right.

    Arguments:
        values: Values >= 0, one per pixel.
        title: The title.
        top: The end of the scale; by default the largest value.
        font_size: The height of the letters in pixels.
    """
    top = float(values.max()) if top is None else top
    top = top if top > 0 else 1.0
    font = ImageFont.load_default(font_size)
    height, width = values.shape
    rows = max(height, 2 * LEVELS * font_size)  # the scale stays legible beside a small map
    line = round(1.35 * font_size)
    labels = [f"{top * i / (LEVELS - 1):.3g}" for i in range(LEVELS)]
    right = width + GAP + BAR + GAP // 2 + round(max(font.getlength(text) for text in labels))
    heading = round(font.getlength(title))
    size = (max(right, heading) + 2 * GAP, line + rows + 2 * GAP + line // 2)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP // 2), title, INK, font)
    above = GAP + line
    sheet.paste(_colored(values.cpu().numpy() / top), (GAP, above))
    scale = np.linspace(1, 0, rows)[:, None].repeat(BAR, 1)
    left = GAP + width + GAP
    sheet.paste(_colored(scale), (left, above))
    for i, text in enumerate(labels):
        y = above + (rows - 1) * (1 - i / (LEVELS - 1))
        draw.text((left + BAR + GAP // 2, y), text, INK, font, anchor="lm")
    return sheet


def _colored(values: np.ndarray) -> Image.Image:
    place = values.clip(0, 1) * (len(COLORS) - 1)
    stops = np.arange(len(COLORS))
    channels = [np.interp(place, stops, COLORS[:, c]) for c in range(3)]
    return Image.fromarray(np.stack(channels, -1).round().astype(np.uint8))
