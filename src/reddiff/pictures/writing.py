"""Pictures to files, whole or not at all."""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from reddiff.errors import InvalidArgument, PictureError, require
from reddiff.files import check_target, write_whole
from reddiff.pictures import exif
from reddiff.pictures.picture import Picture, matching

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
JPEG_EXIF_BYTES = 65533  # the most one marker holds
STRIP_BYTES = 1 << 20
ZLIB_LEVEL = 4  # half the time of 6, and 2 % more bytes


def write_picture(
    path: str | Path, picture: Picture, *, quality: int = 95, force: bool = False
) -> None:
    """Write a picture in the format its file name asks for, whole or not at all.

    PNG and TIFF are lossless and of `picture.bits` bits; JPEG and WebP have 8. Pixels are rounded
    to the nearest level; those beyond [0, 1] become black or white. Profile, if it fits the
    channels, and EXIF are kept; JPEG has no room for EXIF above 64 kB, which is then left out. WebP
    has no gray: it becomes RGB.

    Arguments:
        path: The file: .png, .jpg, .jpeg, .webp, .tif or .tiff.
        picture: What to write.
        quality: Of JPEG (never with subsampled colours) and WebP, 1 to 100; a WebP of quality 100
            is lossless.
        force: Whether a file that exists may be replaced.

    Raises:
        PictureError: Where `check_output` raises it, if the picture is too large for the format or
            holds nan or inf, or the file cannot be written.
        InvalidArgument: If `quality` is out of range.
    """
    path = Path(path)
    check_output(path, alpha=picture.alpha is not None, force=force)
    write_whole(path, encode(path, picture, quality=quality), force=force)


def encode(path: str | Path, picture: Picture, *, quality: int = 95) -> bytes:
    """The bytes that `write_picture` writes. Arguments and errors as there."""
    path = Path(path)
    require(1 <= quality <= 100, "quality", expected="1 to 100", got=quality)
    kind = _format(path, alpha=picture.alpha is not None)
    try:
        return _encode(kind, picture, quality)
    except InvalidArgument as error:
        raise PictureError(path, expected=error.expected, got=error.got) from error
    except Exception as error:  # encoders say in their own ways that a picture is too large
        height, width = picture.size
        got = f"one of {width}x{height} pixels ({' '.join(str(error).split())})"
        raise PictureError(path, expected=f"a picture that {kind} can hold", got=got) from error


def check_output(
    path: str | Path, *, alpha: bool = False, force: bool = False, parents: bool = False
) -> str:
    """Refuse, before any work, what `write_picture` would refuse after it; returns the format.

    Arguments:
        path: The file to be written.
        alpha: Whether the picture will have alpha, which a JPEG cannot hold.
        force: Whether a file that exists may be replaced, see `check_target`.
        parents: Whether the folder may be missing.

    Raises:
        PictureError: If the suffix is of no format, a JPEG is to hold alpha, or `check_target`
            raises it.
    """
    path = Path(path)
    kind = _format(path, alpha=alpha)
    check_target(path, force=force, parents=parents)
    return kind


def _format(path: Path, *, alpha: bool) -> str:
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        got = f"'{path.suffix}'" if path.suffix else "no suffix"
        raise PictureError(path, expected=f"a name that ends in {', '.join(FORMATS)}", got=got)
    if alpha and kind == "JPEG":
        expected = "a picture without alpha for JPEG (.png, .webp and .tif keep it)"
        raise PictureError(path, expected=expected, got="one with alpha")
    return kind


def _encode(kind: str, picture: Picture, quality: int) -> bytes:
    array = picture.to_numpy(picture.bits if kind in ("PNG", "TIFF") else 8)
    icc = matching(picture.icc, len(picture.pixels))
    if kind == "PNG":
        return _png(array, icc, picture.exif)
    if kind == "TIFF":
        return _tiff(array, icc, picture.exif)
    options: dict[str, Any] = {"quality": quality, "subsampling": 0}
    if kind == "WEBP":
        options = {"quality": quality, "lossless": quality == 100, "exact": True}
        icc = icc if len(picture.pixels) == 3 else None
    block = picture.exif
    if block is not None and (kind == "WEBP" or len(block) <= JPEG_EXIF_BYTES):
        options["exif"] = block
    buffer = BytesIO()
    # Pillow would take a profile from where the image came from; None says that there is none.
    Image.fromarray(array).save(buffer, kind, icc_profile=icc, **options)
    return buffer.getvalue()


def _png(array: NDArray[Any], icc: bytes | None, block: bytes | None) -> bytes:
    import imagecodecs

    data = bytes(imagecodecs.png_encode(array, level=ZLIB_LEVEL))
    chunks = [] if icc is None else [(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))]
    if block is not None:
        chunks.append((b"eXIf", block.removeprefix(exif.PREFIX)))
    head = 8 + 25  # the signature and IHDR, behind which these may stand
    parts = [data[:head]]
    for name, content in chunks:
        crc = zlib.crc32(name + content)
        parts.append(len(content).to_bytes(4, "big") + name + content + crc.to_bytes(4, "big"))
    return b"".join([*parts, data[head:]])


def _tiff(array: NDArray[Any], icc: bytes | None, block: bytes | None) -> bytes:
    """A TIFF in strips, deflated after taking differences between neighbouring pixels.

    Neither Pillow (no 16-bit RGB) nor tifffile (no EXIF) can write it.
    """
    array = array if array.ndim == 3 else array[..., None]
    height, width, samples = array.shape
    little = array.astype(array.dtype.newbyteorder("<"))
    rows = max(1, STRIP_BYTES // (width * samples * array.itemsize))
    strips = []
    for top in range(0, height, rows):
        strip = little[top : top + rows].copy()
        strip[:, 1:] -= little[top : top + rows, :-1]  # modulo 2^bits, as it must be
        strips.append(zlib.compress(strip.tobytes(), ZLIB_LEVEL))
    starts = np.cumsum([0, *(len(strip) for strip in strips[:-1])]).tolist()
    tags: dict[int, Any] = {
        256: width,
        257: height,
        258: (8 * array.itemsize,) * samples,
        259: 8,  # deflate
        262: 2 if samples >= 3 else 1,  # RGB, or black is zero
        273: tuple(starts),  # Pillow adds the length of the directory
        277: samples,
        278: rows,
        279: tuple(len(strip) for strip in strips),
        284: 1,  # channels side by side
        317: 2,  # differences
    }
    if samples in (2, 4):
        tags[338] = 2  # the last is alpha, not multiplied into the colours
    if icc is not None:
        tags[34675] = icc
    directory = ImageFileDirectory_v2()
    for tag, value in [*_exif_tags(block).items(), *tags.items()]:
        directory[tag] = value
    buffer = BytesIO()
    directory.save(buffer)
    return b"".join([buffer.getvalue(), *strips])


def _exif_tags(block: bytes | None) -> dict[int, Any]:
    """The tags of an EXIF block, directories as dicts."""
    if block is None:
        return {}
    found = exif.loaded(block)
    return {tag: found.get_ifd(tag) or value for tag, value in found.items()}
