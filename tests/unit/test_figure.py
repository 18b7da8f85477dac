from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from reddiff import InvalidArgument
from reddiff.images.sheets import GAP, contact_sheet

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(width: int, height: int, color=RED) -> Image.Image:
    return Image.new("RGB", (width, height), color)


def box(sheet: Image.Image, color) -> tuple[int, int, int, int]:
    """Left, top, width and height of a color's bounding box."""
    rows, columns = np.nonzero((np.asarray(sheet) == color).all(2))
    left, top = columns.min(), rows.min()
    return left, top, columns.max() - left + 1, rows.max() - top + 1


def ink(sheet: Image.Image, top: int, bottom: int) -> bool:
    return bool((np.asarray(sheet.convert("L"))[top:bottom] < 200).any())


def test_pictures_are_neither_scaled_nor_cropped_and_smaller_ones_are_centerd():
    sheet = contact_sheet([[picture(80, 60), picture(40, 30, BLUE)]], [["", ""]])
    assert sheet.size == (2 * 80 + 3 * GAP, 60 + 2 * GAP)
    assert box(sheet, RED) == (GAP, GAP, 80, 60)
    assert box(sheet, BLUE) == (2 * GAP + 80 + 20, GAP + 15, 40, 30)


def test_captions_headings_and_labels_have_room_of_their_own():
    rows, captions = [[picture(90, 50)], [picture(90, 50, BLUE)]], [["21.0 dB"], ["one\ntwo"]]
    plain = contact_sheet(rows, [[""], [""]], font_size=20)
    full = contact_sheet(rows, captions, columns=["truth"], labels=["a", "b"], font_size=20)
    line = 27
    assert full.height - plain.height == line + 2 * (line + 2 * line)
    _, top, width, height = box(full, RED)
    assert (width, height) == (90, 50)
    assert top == line + GAP + line
    assert ink(full, 0, line)
    assert ink(full, top + height, top + height + 2 * line)
    assert not ink(plain, GAP + 50, 2 * GAP + 50)


def test_a_wide_caption_widens_its_cell():
    text = "a caption that is much wider than its picture"
    assert contact_sheet([[picture(10, 10)]], [[text]]).width > 200


def test_gray_and_transparent_pictures_are_shown():
    gray, clear = Image.new("L", (20, 20), 128), Image.new("RGBA", (20, 20), (255, 0, 0, 255))
    sheet = contact_sheet([[gray, clear]], [["", ""]])
    assert sheet.mode == "RGB"
    assert box(sheet, (128, 128, 128))[2:] == (20, 20)
    assert box(sheet, RED)[2:] == (20, 20)


ONE = picture(5, 5)


@pytest.mark.parametrize(
    ("rows", "captions", "more", "message"),
    [
        ([], [], {}, r"rows: expected at least one picture, .*, got \[\]"),
        ([[]], [[]], {}, r"rows: expected at least one picture, .*, got \[0\]"),
        ([[ONE], [ONE, ONE]], [[""], ["", ""]], {}, r"rows: .* equal length, got \[1, 2\]"),
        ([[ONE]], [["", ""]], {}, r"captions: expected rows of lengths \[1\], got \[2\]"),
        ([[ONE]], [[""]], {"columns": ["a", "b"]}, "columns: expected none or 1 headings, got 2"),
        ([[ONE]], [[""]], {"labels": ["a", "b"]}, "labels: expected none or 1, got"),
    ],
)
def test_arrangements_that_do_not_fit(rows, captions, more, message):
    with pytest.raises(InvalidArgument, match=message):
        contact_sheet(rows, captions, **more)
