"""Labeled pictures side by side in one image, drawn with Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from reddiff.errors import require

GAP = 12
INK, FAINT, PAPER = "#1a1a1a", "#6a6a6a", "#ffffff"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def contact_sheet(
    rows: Sequence[Sequence[Image.Image]],
    captions: Sequence[Sequence[str]],
    *,
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    font_size: int = 15,
) -> Image.Image:
    r"""A table of pictures, every cell with a caption below it.

    Pictures are neither scaled nor cropped; a cell is as large as the largest picture, and smaller
    ones are centered in it. A caption may have several lines.

    Arguments:
        rows: The pictures, row by row; all rows have the same length.
        captions: The caption of each picture, in the same arrangement.
        columns: The heading above each column, or nothing.
        labels: The line above each row, or nothing.
        font_size: The height of the letters in pixels.

    Raises:
        InvalidArgument: If the rows differ in length or a label or caption is missing.
    """
    _check(rows, captions, columns, labels)
    font = ImageFont.load_default(font_size)
    line = round(1.35 * font_size)
    pictures = [picture for row in rows for picture in row]
    texts = [text for row in captions for text in row]
    width = max(
        max(picture.width for picture in pictures),
        max(_text_width(text, font) for text in [*texts, *columns]),
    )
    height = max(picture.height for picture in pictures)
    caption = line * max((text.count("\n") + 1 if text else 0) for text in texts)
    heading, label = line * bool(columns), line * bool(labels)
    step_x, step_y = width + GAP, label + height + caption + GAP

    columns_wide = len(rows[0]) * step_x + GAP
    labels_wide = max((_text_width(text, font) for text in labels), default=0) + 2 * GAP
    size = (max(columns_wide, labels_wide), heading + len(rows) * step_y + GAP)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for j, text in enumerate(columns):
        _center(draw, text, GAP + j * step_x + width / 2, GAP / 2, font, INK)
    for i, (row, row_captions) in enumerate(zip(rows, captions, strict=True)):
        top = heading + GAP + i * step_y
        if labels:
            draw.text((GAP, top), labels[i], fill=INK, font=font)
        for j, (picture, text) in enumerate(zip(row, row_captions, strict=True)):
            left = GAP + j * step_x
            corner = (
                left + (width - picture.width) // 2,
                top + label + (height - picture.height) // 2,
            )
            sheet.paste(picture.convert("RGB"), corner)
            _center(draw, text, left + width / 2, top + label + height + 3, font, FAINT)
    return sheet


def _text_width(text: str, font: Font) -> int:
    return max(round(font.getlength(line)) for line in text.split("\n"))


def _center(draw: ImageDraw.ImageDraw, text: str, x: float, y: float, font: Font, ink: str) -> None:
    draw.multiline_text((x, y), text, fill=ink, font=font, anchor="ma", align="center")


def _check(
    rows: Sequence[Sequence[Image.Image]],
    captions: Sequence[Sequence[str]],
    columns: Sequence[str],
    labels: Sequence[str],
) -> None:
    lengths = [len(row) for row in rows]
    full = bool(rows) and bool(rows[0]) and len(set(lengths)) == 1
    require(full, "rows", expected="at least one picture, in rows of equal length", got=lengths)
    got = [len(row) for row in captions]
    require(got == lengths, "captions", expected=f"rows of lengths {lengths}", got=got)
    good = len(columns) in (0, lengths[0])
    require(good, "columns", expected=f"none or {lengths[0]} headings", got=len(columns))
    require(len(labels) in (0, len(rows)), "labels", expected=f"none or {len(rows)}", got=labels)
