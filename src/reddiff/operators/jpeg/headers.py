"""Reads quantization tables, chroma subsampling and orientation of a JPEG file."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from warnings import catch_warnings

import torch
from torch import Tensor

from reddiff.errors import InvalidArgument, PictureError, require
from reddiff.operators.orientation import Orientation

if TYPE_CHECKING:
    from PIL.Image import Image

ORIENTATION_TAG = 274


class Subsampling(Enum):
    """The numbers of rows and columns of pixels that share a sample of chroma."""

    S444 = (1, 1)
    S422 = (1, 2)
    S420 = (2, 2)
    S411 = (1, 4)
    S440 = (2, 1)


def _subsampling(factors: list[tuple[int, int]]) -> Subsampling:
    """The subsampling of a file, from the sampling factors (rows, columns) of its components."""
    if len(factors) == 1:
        return Subsampling.S444
    (rows, columns), *chroma = factors
    whole = min(chroma[0]) > 0 and all(f == chroma[0] for f in chroma)
    whole = whole and rows % chroma[0][0] == columns % chroma[0][1] == 0
    found = {s.value: s for s in Subsampling}
    ratio = (rows // chroma[0][0], columns // chroma[0][1]) if whole else None
    if ratio not in found:
        expected = "subsampling 4:4:4, 4:2:2, 4:2:0, 4:1:1 or 4:4:0"
        raise InvalidArgument("file", expected=expected, got=factors)
    return found[ratio]


def _orientation(picture: Image) -> Orientation:
    """The EXIF orientation; upright if EXIF is missing or damaged."""
    with catch_warnings(action="ignore"):  # Pillow warns about damage
        try:
            return Orientation(picture.getexif().get(ORIENTATION_TAG, Orientation.UPRIGHT))
        except Exception:  # noqa: BLE001 - the parser raises anything on damaged data
            return Orientation.UPRIGHT


class Header(NamedTuple):
    """The compression parameters of a JPEG file.

    Arguments:
        tables: The quantization tables of luma and chroma `(2, 8, 8)`, in row-major order.
        subsampling: The chroma subsampling.
        orientation: The EXIF orientation.
    """

    tables: Tensor
    subsampling: Subsampling
    orientation: Orientation


def read_header(file: str | Path | Image) -> Header:
    """The header of a JPEG file, given by its path or as an image opened by Pillow.

    Raises:
        PictureError: If the file cannot be read or is not a JPEG file.
        InvalidArgument: If its colors or its subsampling are not supported.
    """
    from PIL import Image as Pictures

    if not isinstance(file, str | Path):
        return _of_picture(file)
    try:
        with Pictures.open(file) as picture:
            return _of_picture(picture)
    except OSError as error:
        got = error.strerror or "another kind of file"
        raise PictureError(file, expected="a JPEG file", got=got, errno=error.errno) from error
    except (PictureError, InvalidArgument):
        raise
    except Exception as error:  # the parsers raise anything on damaged data
        got = f"a damaged file ({' '.join(str(error).split())[:200]})"
        raise PictureError(file, expected="a JPEG file", got=got) from error


def _of_picture(picture: Image) -> Header:
    from PIL.JpegImagePlugin import JpegImageFile

    if not isinstance(picture, JpegImageFile):
        name = getattr(picture, "filename", "") or "the picture"
        raise PictureError(name, expected="a JPEG file", got=picture.format or "no file")
    layers, tables = picture.layer, picture.quantization
    coded = len(layers) == 1 or (len(layers) == 3 and picture.info.get("adobe_transform") != 0)
    coded = coded and [layer[0] for layer in layers] != list(b"RGB")
    got = f"{len(layers)} layers, {picture.mode}"
    require(coded, "file", expected="YCbCr or gray colors", got=got)
    chosen = torch.tensor([tables[layers[i][3]] for i in (0, -1)]).view(2, 8, 8)
    factors = [(layer[2], layer[1]) for layer in layers]
    return Header(chosen, _subsampling(factors), _orientation(picture))
